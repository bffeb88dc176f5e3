//! The options of `#[bowline::rpc(..)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Error, Ident, LitStr, Meta, Path, Result};

use super::declaration::Declaration;
use super::digest;
use crate::options::{Entry, default_facade, entries};

pub(crate) struct Options {
    pub(crate) facade: Path,
    pub(crate) name: Option<LitStr>,
    idempotent: bool,
    no_cancel: bool,
    blocking: Option<Ident>,
    /// In milliseconds.
    timeout: Option<u64>,
    concurrency: Option<u32>,
    strict_schema: bool,
    max_args: Option<usize>,
    max_reply: Option<usize>,
}

impl Options {
    /// Those of `#[rpc]` or `#[rpc(..)]` above a method.
    pub(crate) fn of(attribute: &Attribute) -> Result<Self> {
        match &attribute.meta {
            Meta::Path(_) => Self::parse(TokenStream::new()),
            meta => Self::parse(meta.require_list()?.tokens.clone()),
        }
    }

    pub(crate) fn parse(attribute: TokenStream) -> Result<Self> {
        let mut options = Options {
            facade: default_facade(),
            name: None,
            idempotent: false,
            no_cancel: false,
            blocking: None,
            timeout: None,
            concurrency: None,
            strict_schema: false,
            max_args: None,
            max_reply: None,
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
                "concurrency" => options.concurrency = Some(positive(entry)?),
                "strict_schema" => {
                    entry.flag()?;
                    options.strict_schema = true;
                }
                "max_args" => options.max_args = Some(positive(entry)?),
                "max_reply" => options.max_reply = Some(positive(entry)?),
                other => {
                    let text = format!(
                        "`{other}` is no option; there are `name`, `idempotent`, `no_cancel`, `blocking`, \
                         `timeout`, `concurrency`, `strict_schema`, `max_args`, `max_reply` and `crate`"
                    );
                    return Err(Error::new(entry.name.span(), text));
                }
            }
        }
        Ok(options)
    }

    pub(crate) fn check(&self, declaration: &Declaration) -> Result<()> {
        match &self.blocking {
            Some(option) if declaration.is_async => Err(Error::new(
                option.span(),
                "an `async fn` is not blocking: leave out `async`",
            )),
            Some(option) if declaration.streams() => Err(Error::new(
                option.span(),
                "a method with items is not blocking: its stream is polled",
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn spec(&self, declaration: &Declaration, rpc: &TokenStream) -> TokenStream {
        let schema = digest::of_schema(declaration.schema());
        let idempotent = self.idempotent.then(|| quote!(.idempotent()));
        let no_cancel = self.no_cancel.then(|| quote!(.no_cancel()));
        let blocking = !declaration.is_async && !declaration.streams();
        let blocking = blocking.then(|| quote!(.blocking()));
        let streaming = match (&declaration.incoming, &declaration.items) {
            (None, None) => None,
            (None, Some(_)) => Some(quote!(Executor)),
            (Some(_), None) => Some(quote!(Caller)),
            (Some(_), Some(_)) => Some(quote!(Both)),
        };
        let streaming = streaming.map(|who| quote!(.streaming(#rpc::Streaming::#who)));
        let timeout = self
            .timeout
            .map(|ms| quote!(.timeout(::core::time::Duration::from_millis(#ms))));
        let concurrency = self.concurrency.map(|most| quote!(.concurrency(#most)));
        let strict = self.strict_schema.then(|| quote!(.strict_schema()));
        let max_args = self.max_args.map(|bytes| quote!(.max_args(#bytes)));
        let max_reply = self.max_reply.map(|bytes| quote!(.max_reply(#bytes)));
        quote! {
            #rpc::MethodSpec::new()
                #idempotent #no_cancel #blocking #timeout #concurrency #strict #max_args #max_reply #streaming
                .schema(#schema)
        }
    }
}

/// As the registry would refuse it, but at compile time and at its place.
pub(crate) fn check_name(name: &LitStr) -> Result<()> {
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

/// A number above zero.
fn positive<T: std::str::FromStr + Default + PartialEq>(entry: Entry) -> Result<T>
where
    T::Err: std::fmt::Display,
{
    let name = entry.name.clone();
    let number = entry.integer()?;
    let value: T = number.base10_parse()?;
    if value == T::default() {
        let text = format!("`{name}` takes a number above zero");
        return Err(Error::new(number.span(), text));
    }
    Ok(value)
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
        assert!(refused(quote!(concurrency = 0)).contains("above zero"));
        assert!(refused(quote!(concurrency = "many")).contains("a number"));
        assert!(refused(quote!(max_args)).contains("a number"));
        assert!(refused(quote!(strict_schema = 1)).contains("no value"));
        assert_eq!(
            Options::parse(quote!(timeout = "2m"))
                .map(|o| o.timeout)
                .ok(),
            Some(Some(120_000))
        );
    }
}
