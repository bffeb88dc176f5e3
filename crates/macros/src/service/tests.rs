//! What wrong use of the attribute is answered with.

use proc_macro2::TokenStream;
use quote::quote;

use super::expand;

fn refusal(attribute: TokenStream, item: TokenStream) -> String {
    let expanded = expand(attribute, item.clone()).to_string();
    // But for what only the attribute knows.
    let mut item = item.to_string();
    for known in ["(idempotent)", "(no_cancel)", "(blocking)", "(idempotant)"] {
        item = item.replace(&format!("# [rpc {known}] "), "");
    }
    let error = expanded
        .strip_suffix(&item)
        .unwrap_or_else(|| panic!("the trait is not untouched: {expanded}"));
    let text = error.split('"').nth(1);
    text.unwrap_or_else(|| panic!("no sentence: {error}"))
        .to_owned()
}

// RG15
#[test]
fn traits_that_are_no_service_are_refused() {
    for (item, sentence) in [
        (
            quote!(
                trait M<T> {}
            ),
            "a service has no generics: what its methods take has to travel",
        ),
        (
            quote!(
                unsafe trait M {}
            ),
            "a service is not `unsafe`",
        ),
        (
            quote!(
                trait M {
                    async unsafe fn f(&self);
                }
            ),
            "a method is not `unsafe`",
        ),
        (
            quote!(
                trait M {
                    const A: u8;
                }
            ),
            "a service has methods alone",
        ),
        (
            quote!(
                trait M {
                    fn f(&self);
                }
            ),
            "a method of a service is an `async fn`, or returns a stream",
        ),
        (
            quote!(
                trait M {
                    async fn f();
                }
            ),
            "a method of a service takes `&self`: many calls run at once",
        ),
        (
            quote!(
                trait M {
                    async fn f(&mut self);
                }
            ),
            "a method of a service takes `&self`: many calls run at once",
        ),
        (
            quote!(
                trait M {
                    async fn f(&self) {}
                }
            ),
            "a method of a service has no body here: what implements the trait has it",
        ),
        (
            quote!(
                trait M {
                    async fn f(&self, a: &str);
                }
            ),
            "this has to travel, so it cannot be borrowed",
        ),
        (
            quote!(
                trait M {
                    #[rpc(idempotent)]
                    #[rpc(no_cancel)]
                    async fn f(&self);
                }
            ),
            "`#[rpc(..)]` stands here once",
        ),
        (
            quote!(
                trait M {
                    #[rpc(blocking)]
                    async fn f(&self);
                }
            ),
            "an `async fn` is not blocking: leave out `async`",
        ),
        (
            quote!(
                trait M {
                    #[rpc(idempotant)]
                    async fn f(&self);
                }
            ),
            "`idempotant` is no option; there are `name`, `idempotent`, `no_cancel`, `blocking`, \
             `timeout`, `concurrency`, `strict_schema`, `max_args`, `max_reply` and `crate`",
        ),
        (
            quote!(
                trait M {
                    async fn f(&self, a: u8, context: Context);
                }
            ),
            "the context is the first parameter",
        ),
        (
            quote!(
                trait M {
                    async fn f(&self) -> Result<u8>;
                }
            ),
            "a method that can fail returns `Result<T, E>` with both types named",
        ),
        (
            quote!(
                trait M {
                    async fn clone(&self) -> u8;
                }
            ),
            "`clone` clones the client that this trait gives: call the method otherwise, and put \
             `#[rpc(name = \\",
        ),
    ] {
        assert_eq!(refusal(quote!(), item.clone()), sentence, "{item}");
    }
    assert_eq!(
        refusal(
            quote!(title = "m"),
            quote!(
                trait M {}
            )
        ),
        "`title` is no option; there are `name` and `crate`"
    );
}

#[test]
fn options_stand_in_the_attribute_by_any_path() {
    let expanded = |attribute: TokenStream| {
        let item = quote!(
            trait M {
                #attribute
                async fn f(&self);
            }
        );
        expand(quote!(), item).to_string()
    };
    let short = expanded(quote!(#[rpc(idempotent)]));
    assert!(short.contains(". idempotent ()"), "{short}");
    assert_eq!(short, expanded(quote!(#[bowline::rpc(idempotent)])));
    assert_eq!(expanded(quote!()), expanded(quote!(#[rpc])));
}
