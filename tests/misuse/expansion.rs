//! Wrong use that the attributes themselves find. Each line with an error ends in what it says.

use bowline::rpc::{Context, Incoming};

pub mod functions {
    #[bowline::rpc]
    pub async fn generic<T>(value: T) {} //~ a method has no generics: its arguments have to travel

    #[bowline::rpc]
    pub async fn borrowed(
        count: u32,
        text: &str, //~ this has to travel, so it cannot be borrowed
    ) {
    }

    #[bowline::rpc]
    pub async fn returns_borrowed() -> &'static str //~ this has to travel, so it cannot be borrowed
    {
        ""
    }

    #[bowline::rpc]
    pub async fn unnamed(
        text: impl Into<String>, //~ this has to travel, so its type has to be named
    ) {
    }

    #[bowline::rpc]
    pub async fn pattern(
        (a, b): (u8, u8), //~ a parameter of a method is a plain name
    ) {
    }

    #[bowline::rpc]
    pub async fn pointer(
        place: *const u8, //~ this cannot travel
    ) {
    }

    #[bowline::rpc]
    pub async fn many(
        a: u8,
        b: u8,
        c: u8,
        d: u8,
        e: u8,
        f: u8,
        g: u8,
        h: u8,
        i: u8,
        j: u8,
        k: u8,
        l: u8,
        m: u8, //~ a method has at most 12 arguments
    ) {
    }

    #[bowline::rpc]
    pub async fn half_a_result() -> std::io::Result<u8> //~ a method that can fail returns `Result<T, E>` with both types named
    {
        Ok(1)
    }

    #[bowline::rpc]
    pub async fn items_first(
        items: super::Incoming<u8>, //~ the items of the caller are the last parameter
        count: u8,
    ) {
    }

    #[bowline::rpc]
    pub async fn default_context(
        #[rpc(default)] context: super::Context, //~ the context is no argument, so it has no default
    ) {
    }

    #[bowline::rpc]
    pub async fn late_context(
        a: u8,
        context: super::Context, //~ the context is the first parameter
    ) {
    }
}

pub mod options {
    #[bowline::rpc(blocking)] //~ an `async fn` is not blocking: leave out `async`
    pub async fn blocks() {}

    #[bowline::rpc(concurrency = 0)] //~ `concurrency` takes a number above zero
    pub async fn never() {}

    #[bowline::rpc(name = "sys.stop")] //~ names that start with `sys.` are reserved
    pub async fn reserved() {}

    #[bowline::rpc(idempotent, idempotent)] //~ option `idempotent` is given twice
    pub async fn twice() {}

    #[bowline::rpc]
    pub struct Nothing; //~ `#[bowline::rpc]` goes on a function
}

pub mod services {
    #[bowline::service]
    pub trait Generic<T> //~ a service has no generics: what its methods take has to travel
    {
        async fn method(&self);
    }

    #[bowline::service]
    pub trait Mutable {
        async fn method(
            &mut self, //~ a method of a service takes `&self`: many calls run at once
        );
    }

    #[bowline::service]
    pub trait MakesItself {
        async fn new(&self); //~ `new` makes the client that this trait gives: call the method otherwise, and put `#[rpc(name = "new")]` above it if that is its name for peers
    }

    #[bowline::service]
    pub trait ClonesItself {
        async fn r#clone(&self, of: u32); //~ `clone` clones the client that this trait gives
    }

    #[bowline::service]
    pub trait ConvertsItself {
        #[rpc(name = "convert")]
        async fn try_into(&self, count: u8); //~ `try_into` converts the client that this trait gives
    }

    #[bowline::service]
    pub trait Synchronous {
        fn method(&self); //~ a method of a service is an `async fn`, or returns a stream
    }
}
