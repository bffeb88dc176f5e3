//! Hashes of tokens as written: FNV-1a over the leaf tokens joined by one space.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ItemFn;

/// 32 hex digits for a function without its attributes and doc comments.
pub(super) fn of_function(function: &ItemFn) -> String {
    let mut bare = function.clone();
    bare.attrs.clear();
    let text = joined(bare.to_token_stream());
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in text.bytes() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    format!("{hash:032x}")
}

/// The hash of argument and reply types.
pub(super) fn of_schema(types: TokenStream) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in joined(types).bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// The leaf tokens and delimiters, one space between any two. Not `TokenStream::to_string`, whose
/// spacing differs between versions of the compiler.
fn joined(tokens: TokenStream) -> String {
    let mut text = String::new();
    let mut glue = false;
    write(tokens, &mut text, &mut glue);
    text
}

fn write(tokens: TokenStream, text: &mut String, glue: &mut bool) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open, text, glue);
                write(group.stream(), text, glue);
                push(close, text, glue);
            }
            TokenTree::Punct(punct) => {
                push(punct.as_char().encode_utf8(&mut [0; 4]), text, glue);
                *glue = punct.spacing() == Spacing::Joint;
            }
            other => push(&other.to_string(), text, glue),
        }
    }
}

fn push(token: &str, text: &mut String, glue: &mut bool) {
    if token.is_empty() {
        return;
    }
    if !text.is_empty() && !std::mem::take(glue) {
        text.push(' ');
    }
    text.push_str(token);
}

#[cfg(test)]
mod unit {
    use super::*;
    use syn::parse_quote;

    // RG2
    #[test]
    fn the_digest_is_that_of_the_tokens() {
        let function: ItemFn = parse_quote!(
            async fn add(a: i64, b: i64) -> i64 {
                a + b
            }
        );
        assert_eq!(of_function(&function), "ddc5f27c4e279dc1e4745aaaec6fdf54");
        let commented: ItemFn = parse_quote!(
            /// Adds.
            async fn add(a: i64, b: i64) -> i64 {
                a + b
            }
        );
        assert_eq!(of_function(&commented), of_function(&function));
        let changed: ItemFn = parse_quote!(
            async fn add(a: i64, b: i64) -> i64 {
                b + a
            }
        );
        assert_ne!(of_function(&changed), of_function(&function));
    }

    #[test]
    fn the_schema_is_that_of_the_types() {
        let types = "(i64, i64) -> i64".parse().unwrap();
        assert_eq!(of_schema(types), 0xc42f_8faa_649e_d966);
    }
}
