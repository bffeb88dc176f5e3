//! The options of `#[bowline::rpc(..)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Ident, LitStr, Path, Result};

use super::declaration::Declaration;
use super::digest;
use crate::options::{default_facade, entries};

pub(super) struct Options {
    pub(super) facade: Path,
    pub(super) name: Option<LitStr>,
    idempotent: bool,
    no_cancel: bool,
    blocking: Option<Ident>,
    /// In milliseconds.
    timeout: Option<u64>,
}

impl Options {
    pub(super) fn parse(attribute: TokenStream) -> Result<Self> {
        let mut options = Options {
            facade: default_facade(),
            name: None,
            idempotent: false,
            no_cancel: false,
            blocking: None,
            timeout: None,
        };
        for entry in entries(attribute)? {
            match entry.name.to_string().as_str() {
                "crate" => options.facade = entry.facade()?,
                "name" => {
                    let name = entry.string()?;
                    check_name(&name)?;
                    options.name = Some(name);
                }
                "idempotent" => {
                    entry.flag()?;
                    options.idempotent = true;
                }
                "no_cancel" => {
                    entry.flag()?;
                    options.no_cancel = true;
                }
                "blocking" => options.blocking = Some(entry.flag()?),
                "timeout" => options.timeout = Some(milliseconds(&entry.string()?)?),
                other => {
                    let text = format!(
                        "`{other}` is no option; there are `name`, `idempotent`, `no_cancel`, `blocking`, \
                         `timeout` and `crate`"
                    );
                    return Err(Error::new(entry.name.span(), text));
                }
            }
        }
        Ok(options)
    }

    pub(super) fn check(&self, declaration: &Declaration) -> Result<()> {
        match &self.blocking {
            Some(option) if declaration.is_async => Err(Error::new(
                option.span(),
                "an `async fn` is not blocking: leave out `async`",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn spec(&self, declaration: &Declaration, rpc: &TokenStream) -> TokenStream {
        let schema = digest::of_schema(declaration.schema());
        let idempotent = self.idempotent.then(|| quote!(.idempotent()));
        let no_cancel = self.no_cancel.then(|| quote!(.no_cancel()));
        let blocking = (!declaration.is_async).then(|| quote!(.blocking()));
        let timeout = self
            .timeout
            .map(|ms| quote!(.timeout(::core::time::Duration::from_millis(#ms))));
        quote!(#rpc::MethodSpec::new() #idempotent #no_cancel #blocking #timeout .schema(#schema))
    }
}

/// As the registry would refuse it, but at compile time and at its place.
fn check_name(name: &LitStr) -> Result<()> {
    let text = name.value();
    let wrong = if text.is_empty() || text.len() > 200 {
        "a method name has 1 to 200 bytes"
    } else if text.chars().any(char::is_control) {
        "a method name has no control characters"
    } else if text.starts_with('.') || text.ends_with('.') {
        "a method name has no dot at its ends"
    } else if text.starts_with("sys.") {
        "names that start with `sys.` are reserved"
    } else {
        return Ok(());
    };
    Err(Error::new(name.span(), wrong))
}

fn milliseconds(text: &LitStr) -> Result<u64> {
    let value = text.value();
    let digits = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let factor = match &value[digits..] {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    factor
        .and_then(|factor| value[..digits].parse::<u64>().ok()?.checked_mul(factor))
        .filter(|ms| *ms > 0)
        .ok_or_else(|| {
            Error::new(
                text.span(),
                "a timeout is a number with a unit: \"50ms\", \"5s\", \"2m\", \"1h\"",
            )
        })
}

#[cfg(test)]
mod unit {
    use super::*;
    use quote::quote;

    #[test]
    fn wrong_options_are_refused_with_a_reason() {
        let refused = |tokens| match Options::parse(tokens) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        };
        assert!(refused(quote!(nmae = "x")).starts_with("`nmae` is no option"));
        assert!(refused(quote!(name = "")).contains("1 to 200 bytes"));
        assert!(refused(quote!(name = "sys.x")).contains("reserved"));
        assert!(refused(quote!(timeout = "5")).contains("unit"));
        assert!(refused(quote!(timeout = "0s")).contains("unit"));
        assert_eq!(
            Options::parse(quote!(timeout = "2m"))
                .map(|o| o.timeout)
                .ok(),
            Some(Some(120_000))
        );
    }
}
