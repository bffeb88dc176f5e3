//! What wrong use of the attribute is answered with: the sentence, and where it points.

use proc_macro2::TokenStream;
use quote::quote;

use super::expand;

/// The sentence of the one `compile_error!`, which stands beside the function, untouched but for what
/// only the attribute knows.
fn refusal(attribute: TokenStream, item: TokenStream) -> String {
    let expanded = expand(attribute, item.clone()).to_string();
    let item = item.to_string();
    let item = item
        .replace("# [rpc (default)] ", "")
        .replace("# [rpc (later)] ", "");
    let error = expanded
        .strip_suffix(&item)
        .unwrap_or_else(|| panic!("the function is not untouched: {expanded}"));
    assert_eq!(error.matches("compile_error").count(), 1, "{expanded}");
    let text = error.split('"').nth(1);
    text.unwrap_or_else(|| panic!("no sentence: {error}"))
        .to_owned()
}

// RG15
#[test]
fn a_method_with_items_is_not_blocking() {
    let refused = refusal(
        quote!(blocking),
        quote!(
            fn f() -> impl Stream<Item = u8> {}
        ),
    );
    assert_eq!(
        refused,
        "a method with items is not blocking: its stream is polled"
    );
}

// RG15
#[test]
fn functions_that_no_call_can_reach_are_refused() {
    for (item, sentence) in [
        (
            quote!(
                async fn f<T>(a: T) {}
            ),
            "a method has no generics: its arguments have to travel",
        ),
        (
            quote!(
                async fn f<'a>(a: u8) {}
            ),
            "a method has no generics: its arguments have to travel",
        ),
        (
            quote!(
                const fn f() {}
            ),
            "a method is not `const`",
        ),
        (
            quote!(
                extern "C" fn f() {}
            ),
            "a method is not `extern`",
        ),
        (
            quote!(
                unsafe fn f() {}
            ),
            "a method is not `unsafe`",
        ),
        (
            quote!(
                async unsafe fn f() {}
            ),
            "a method is not `unsafe`",
        ),
        (
            quote!(
                async fn f(&self) {}
            ),
            "a method is a free function: it has no `self`",
        ),
        (
            quote!(
                async fn f(a: &str) {}
            ),
            "this has to travel, so it cannot be borrowed",
        ),
        (
            quote!(
                async fn f() -> &'static str {
                    ""
                }
            ),
            "this has to travel, so it cannot be borrowed",
        ),
        (
            quote!(
                async fn f(a: impl Into<String>) {}
            ),
            "this has to travel, so its type has to be named",
        ),
        (
            quote!(
                async fn f(a: fn(u8)) {}
            ),
            "this cannot travel",
        ),
        (
            quote!(
                async fn f(a: *const u8) {}
            ),
            "this cannot travel",
        ),
        (
            quote!(
                async fn f((a, b): (u8, u8)) {}
            ),
            "a parameter of a method is a plain name",
        ),
        (
            quote!(
                async fn f(
                    a: u8,
                    b: u8,
                    c: u8,
                    d: u8,
                    e: u8,
                    g: u8,
                    h: u8,
                    i: u8,
                    j: u8,
                    k: u8,
                    l: u8,
                    m: u8,
                    n: u8,
                ) {
                }
            ),
            "a method has at most 12 arguments",
        ),
        (
            quote!(
                async fn f() -> io::Result<u8> {
                    Ok(1)
                }
            ),
            "a method that can fail returns `Result<T, E>` with both types named",
        ),
        (
            quote!(
                async fn f(items: Incoming<u8>, a: u8) {}
            ),
            "the items of the caller are the last parameter",
        ),
        (
            quote!(
                async fn f(#[rpc(default)] items: Incoming<u8>) {}
            ),
            "the items of the caller are no argument, so they have no default",
        ),
        (
            quote!(
                fn f(items: Incoming<u8>) -> u8 {}
            ),
            "what takes items of its caller is an `async fn`, or returns a stream",
        ),
        (
            quote!(
                async fn f() -> Result<impl Stream<Item = Result<u8, A>>, B> {}
            ),
            "a method has one error: that of its items and that of its beginning",
        ),
        (
            quote!(
                fn f() -> impl Stream<Item = Result<u8>> {}
            ),
            "items that may be errors are `Result<T, E>` with both types named",
        ),
        (
            quote!(
                fn f() -> impl Iterator<Item = u8> {}
            ),
            "this has to travel, so its type has to be named",
        ),
        (
            quote!(
                async fn f(#[rpc(later)] a: u8) {}
            ),
            "the parameters of a method take no attribute but `#[rpc(default)]`",
        ),
        (
            quote!(
                async fn f(#[cfg(unix)] a: u8) {}
            ),
            "the parameters of a method take no attribute but `#[rpc(default)]`",
        ),
        (
            quote!(
                async fn f(#[rpc(default)] context: Context) {}
            ),
            "the context is no argument, so it has no default",
        ),
        (
            quote!(
                async fn f(a: u8, context: rpc::Context) {}
            ),
            "the context is the first parameter",
        ),
    ] {
        assert_eq!(refusal(quote!(), item.clone()), sentence, "{item}");
    }
}

// RG15
#[test]
fn options_that_do_not_fit_are_refused() {
    let item = quote!(
        async fn f(a: u8) {}
    );
    for (attribute, sentence) in [
        (
            quote!(blocking),
            "an `async fn` is not blocking: leave out `async`",
        ),
        (quote!(idempotent = true), "`idempotent` takes no value"),
        (quote!(timeout = 5), "`timeout` takes a string in quotes"),
        (
            quote!(concurrency = 0),
            "`concurrency` takes a number above zero",
        ),
        (quote!(name = "a."), "a method name has no dot at its ends"),
        (
            quote!(name = "sys.a"),
            "names that start with `sys.` are reserved",
        ),
        (
            quote!(idempotent, idempotent),
            "option `idempotent` is given twice",
        ),
    ] {
        assert_eq!(
            refusal(attribute.clone(), item.clone()),
            sentence,
            "{attribute}"
        );
    }
}

// RG15
#[test]
fn what_is_no_function_is_refused() {
    let structure = quote!(
        struct S;
    );
    assert_eq!(
        refusal(quote!(), structure),
        "`#[bowline::rpc]` goes on a function"
    );
    // Half of something says what is missing.
    let expanded = expand(quote!(), quote!(async fn f)).to_string();
    assert!(expanded.contains("compile_error"), "{expanded}");
    assert!(!expanded.contains("goes on"), "{expanded}");
}
