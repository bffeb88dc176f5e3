//! The options between an attribute's parentheses.

use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, Lit, LitInt, LitStr, Path, Result, Token, ext::IdentExt, parse_quote};

/// The backends by the names of their features; the order is that of the tests.
pub(crate) const BACKENDS: [&str; 4] = ["tokio", "smol", "async-std", "sim"];

/// One option: `name`, `name = literal`, `crate = path` or `name(..)`.
pub(crate) struct Entry {
    pub(crate) name: Ident,
    pub(crate) value: Option<Value>,
}

/// What stands on the right of the `=`, or in parentheses.
pub(crate) enum Value {
    Literal(Lit),
    Path(Path),
    List(Vec<Entry>),
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.call(Ident::parse_any)?;
        if input.peek(syn::token::Paren) {
            let inside;
            syn::parenthesized!(inside in input);
            let list = Punctuated::<Entry, Token![,]>::parse_terminated(&inside)?;
            let value = Some(Value::List(list.into_iter().collect()));
            return Ok(Entry { name, value });
        }
        if !input.peek(Token![=]) {
            return Ok(Entry { name, value: None });
        }
        input.parse::<Token![=]>()?;
        let value = if input.peek(Lit) {
            Value::Literal(input.parse()?)
        } else {
            Value::Path(input.call(Path::parse_mod_style).map_err(|_| {
                input.error(format!("the value of `{name}` is a literal or a path"))
            })?)
        };
        Ok(Entry {
            name,
            value: Some(value),
        })
    }
}

/// Reads the options and refuses one that is given twice.
pub(crate) fn entries(attribute: TokenStream) -> Result<Vec<Entry>> {
    let list = Punctuated::<Entry, Token![,]>::parse_terminated.parse2(attribute)?;
    let mut entries: Vec<Entry> = Vec::new();
    for entry in list {
        if entries.iter().any(|known| known.name == entry.name) {
            let text = format!("option `{}` is given twice", entry.name);
            return Err(Error::new(entry.name.span(), text));
        }
        entries.push(entry);
    }
    Ok(entries)
}

impl Entry {
    /// The value as a path of the facade, which must not depend on where it is written: it is
    /// used inside a generated module too.
    pub(crate) fn facade(self) -> Result<Path> {
        let text =
            "`crate` takes the path of the facade: `crate = ::path` or `crate = crate::path`";
        match self.value {
            Some(Value::Path(path)) => match path.segments.first() {
                Some(first) if first.ident == "self" || first.ident == "super" => {
                    Err(Error::new_spanned(path, text))
                }
                _ => Ok(path),
            },
            _ => Err(Error::new(self.name.span(), text)),
        }
    }

    /// The value as a list of names and paths.
    pub(crate) fn paths(self) -> Result<Vec<(Ident, Path)>> {
        let Some(Value::List(list)) = self.value else {
            return Err(self.expects("a list: `workers(pool = build_registry)`"));
        };
        let mut paths = Vec::new();
        for entry in list {
            match entry.value {
                Some(Value::Path(path)) => paths.push((entry.name, path)),
                _ => return Err(entry.expects("the path of a function")),
            }
        }
        Ok(paths)
    }

    /// The value as a string.
    pub(crate) fn string(self) -> Result<LitStr> {
        match self.value {
            Some(Value::Literal(Lit::Str(text))) => Ok(text),
            _ => Err(self.expects("a string in quotes")),
        }
    }

    /// The value as an integer.
    pub(crate) fn integer(self) -> Result<LitInt> {
        match self.value {
            Some(Value::Literal(Lit::Int(number))) => Ok(number),
            _ => Err(self.expects("a number")),
        }
    }

    /// An option without a value.
    pub(crate) fn flag(self) -> Result<Ident> {
        match self.value {
            None => Ok(self.name),
            Some(_) => Err(self.expects("no value")),
        }
    }

    fn expects(&self, what: &str) -> Error {
        Error::new(self.name.span(), format!("`{}` takes {what}", self.name))
    }
}

/// The name of a backend's feature as an identifier: `async-std` is `async_std`.
pub(crate) fn identifier(backend: &str) -> Ident {
    quote::format_ident!("{}", backend.replace('-', "_"))
}

/// The facade where no `crate = path` says otherwise.
pub(crate) fn default_facade() -> Path {
    parse_quote!(::bowline)
}

#[cfg(test)]
mod unit {
    use super::*;
    use quote::quote;

    #[test]
    fn an_option_given_twice_is_refused() {
        let Err(error) = entries(quote!(seed = 1, seed = 2)) else {
            panic!("accepted");
        };
        assert_eq!(error.to_string(), "option `seed` is given twice");
    }

    #[test]
    fn a_facade_is_named_from_the_root() {
        let path = |tokens| entries(tokens).map(|mut list| list.remove(0).facade());
        assert!(path(quote!(crate = ::other::bowline)).unwrap().is_ok());
        assert!(path(quote!(crate = crate::bowline)).unwrap().is_ok());
        assert!(path(quote!(crate = super::bowline)).unwrap().is_err());
        assert!(path(quote!(crate = "bowline")).unwrap().is_err());
        assert!(path(quote!(crate)).unwrap().is_err());
    }
}
