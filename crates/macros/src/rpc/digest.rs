//! Hashes of tokens as written: FNV-1a over the leaf tokens joined by one space.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Ident, ItemFn};

/// 32 hex digits for a function without its attributes and doc comments.
pub(super) fn of_function(function: &ItemFn) -> String {
    let text = joined(function.to_token_stream());
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

/// The leaf tokens and delimiters without attributes, one space between any two. Not
/// `TokenStream::to_string`, whose spacing differs between versions of the compiler.
fn joined(tokens: TokenStream) -> String {
    let mut text = Text::default();
    text.write(tokens, Within::Code);
    text.text
}

/// What `#[..]` means where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// An attribute.
    Code,
    /// Whatever the macro makes of it, unless it is a doc comment.
    Macro,
}

#[derive(Default)]
struct Text {
    text: String,
    /// The next token belongs to the one before.
    glue: bool,
}

impl Text {
    fn write(&mut self, tokens: TokenStream, within: Within) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            let attribute = attribute(&tokens[at..], within);
            if attribute > 0 {
                at += attribute;
                continue;
            }
            match &tokens[at] {
                TokenTree::Group(group) => {
                    let (open, close) = match group.delimiter() {
                        Delimiter::Parenthesis => ("(", ")"),
                        Delimiter::Brace => ("{", "}"),
                        Delimiter::Bracket => ("[", "]"),
                        Delimiter::None => ("", ""),
                    };
                    let inside = if is_macro(&tokens[..at]) {
                        Within::Macro
                    } else {
                        within
                    };
                    self.push(open);
                    self.write(group.stream(), inside);
                    self.push(close);
                }
                TokenTree::Punct(punct) => {
                    self.push(punct.as_char().encode_utf8(&mut [0; 4]));
                    self.glue = punct.spacing() == Spacing::Joint;
                }
                other => self.push(&other.to_string()),
            }
            at += 1;
        }
    }

    fn push(&mut self, token: &str) {
        if token.is_empty() {
            return;
        }
        if !self.text.is_empty() && !std::mem::take(&mut self.glue) {
            self.text.push(' ');
        }
        self.text.push_str(token);
    }
}

/// How many tokens the attribute takes that `tokens` begin with; 0 if they begin with none.
fn attribute(tokens: &[TokenTree], within: Within) -> usize {
    let is = |at: usize, wanted| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    if !is(0, '#') {
        return 0;
    }
    let place = if is(1, '!') { 2 } else { 1 };
    match tokens.get(place) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            let doc = matches!(
                group.stream().into_iter().next(),
                Some(TokenTree::Ident(name)) if name == "doc"
            );
            if within == Within::Code || doc {
                place + 1
            } else {
                0
            }
        }
        _ => 0,
    }
}

/// Whether a group after `before` is the input of a macro: `name ! (..)`, but not `return !(..)`.
fn is_macro(before: &[TokenTree]) -> bool {
    match before {
        [.., TokenTree::Ident(name), TokenTree::Punct(bang)] => {
            let is_bang = bang.as_char() == '!' && bang.spacing() == Spacing::Alone;
            // A keyword is no name.
            is_bang && syn::parse_str::<Ident>(&name.to_string()).is_ok()
        }
        _ => false,
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn digest(source: &str) -> String {
        of_function(&syn::parse_str(source).unwrap())
    }

    const ADD: &str = "ddc5f27c4e279dc1e4745aaaec6fdf54";

    // RG2
    #[test]
    fn the_digest_is_that_of_the_tokens() {
        assert_eq!(digest("async fn add(a: i64, b: i64) -> i64 { a + b }"), ADD);
        let spaced = "async fn add ( a:i64,b :i64 )->i64\n{a+b}";
        assert_eq!(digest(spaced), ADD);
    }

    // RG2
    #[test]
    fn comments_and_attributes_do_not_change_it_wherever_they_stand() {
        for same in [
            "/// Adds.\nasync fn add(a: i64, b: i64) -> i64 { a + b }",
            "#[must_use] #[cfg(unix)] async fn add(a: i64, b: i64) -> i64 { a + b }",
            "async fn add(a: i64, /* the other */ b: i64) -> i64 { a /* plus */ + b // sum\n }",
            "async fn add(#[rpc(default)] a: i64, b: i64) -> i64 { a + b }",
            "async fn add(a: i64, b: i64) -> i64 { #![allow(unused)] //! Inside.\n a + b }",
            "async fn add(a: i64, b: i64) -> i64 { #[allow(clippy::all)] /** both */ a + b }",
        ] {
            assert_eq!(digest(same), ADD, "{same}");
        }
        assert_eq!(
            digest("fn f() -> bool { return !({ #[cfg(test)] x }) }"),
            digest("fn f() -> bool { return !({ x }) }")
        );
        let plain = "fn f() { let x = [1, 2]; m!(x) }";
        for same in [
            "fn f() { #[cfg(test)] let x = [1, 2]; m!(x) }",
            "fn f() { let x = [#[cfg(test)] 1, 2]; m!(x) }",
            "fn f() { let x = [1, 2]; m!(/// Words.\n x) }",
        ] {
            assert_eq!(digest(same), digest(plain), "{same}");
        }
    }

    // RG2
    #[test]
    fn a_changed_token_changes_it() {
        for other in [
            "async fn add(a: i64, b: i64) -> i64 { b + a }",
            "async fn add(a: i64, b: i64) -> i64 { a - b }",
            "async fn add(a: i64, b: i32) -> i64 { a + b }",
            "async fn sum(a: i64, b: i64) -> i64 { a + b }",
            "fn add(a: i64, b: i64) -> i64 { a + b }",
            "async fn add(a: i64, b: i64) -> i64 { (a + b) }",
            "async fn add(a: i64, b: i64) -> i64 { a + b; }",
        ] {
            assert_ne!(digest(other), ADD, "{other}");
        }
        // What looks like an attribute in the input of a macro may be anything there.
        assert_ne!(
            digest("fn f() { m!(#[one] x) }"),
            digest("fn f() { m!(#[two] x) }")
        );
        assert_ne!(
            digest("fn f() { let x = [1, 2]; }"),
            digest("fn f() { let x = [1, 3]; }")
        );
    }

    #[test]
    fn the_schema_is_that_of_the_types() {
        let types = "(i64, i64) -> i64".parse().unwrap();
        assert_eq!(of_schema(types), 0xc42f_8faa_649e_d966);
    }
}
