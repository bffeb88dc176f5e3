//! `#[bowline::test]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Attribute, Error, Ident, ItemFn, LitInt, Path, Result};

use crate::entry;
use crate::options::{BACKENDS, default_facade, entries, identifier};

/// The whole expansion; a refusal becomes a `compile_error!`.
pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    try_expand(attribute, item).unwrap_or_else(|error| error.to_compile_error())
}

/// Beside the function comes a module of the same name (functions and modules have separate name
/// spaces) with one test per backend. Which of them exist is the facade's to say, so each stands
/// in a declarative macro of it that keeps or drops its tokens.
fn try_expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(attribute)?;
    let function = entry::function(item, "test")?;
    let (name, facade) = (function.sig.ident.clone(), &options.facade);
    let cfgs: Vec<_> = of(&function.attrs, &["cfg"]).cloned().collect();
    let outcomes: Vec<_> = of(&function.attrs, &["should_panic", "ignore"])
        .cloned()
        .collect();
    // The harness wants these to return nothing at all.
    let panics = outcomes.iter().any(|a| is(a, &["should_panic"]));
    if let (true, syn::ReturnType::Type(..)) = (panics, &function.sig.output) {
        let text = "a function with `#[should_panic]` returns nothing";
        return Err(Error::new_spanned(&function.sig.output, text));
    }
    let ItemFn {
        attrs,
        vis,
        sig,
        block,
        ..
    } = function;
    let kept = attrs.iter().filter(|a| !is(a, &["should_panic", "ignore"]));
    let tests = BACKENDS.iter().filter(|b| options.wants(b)).map(|backend| {
        let test = identifier(backend);
        let with = format_ident!("__with_{test}");
        let run = match *backend {
            "sim" => {
                let (first, last) = (&options.first, &options.end);
                quote!(#facade::__private::test_in_sim(#first..#last, super::#name))
            }
            _ => quote!(#facade::__private::test_on(#backend, super::#name)),
        };
        let (output, run) = match panics {
            true => (quote!(), quote!(let _ = #run;)),
            false => (quote!(-> impl ::std::process::Termination), run),
        };
        quote! {
            #facade::#with! {
                {
                    #[::core::prelude::v1::test]
                    #(#outcomes)*
                    fn #test() #output { #run }
                }
                {}
            }
        }
    });
    Ok(quote! {
        #[cfg(test)]
        #[allow(dead_code, reason = "the chosen backends may not be in this build")]
        #(#kept)*
        #vis #sig #block

        #[cfg(test)]
        #(#cfgs)*
        mod #name {
            #facade::__require_backend!();
            #(#tests)*
        }
    })
}

fn of<'a>(attributes: &'a [Attribute], names: &'a [&str]) -> impl Iterator<Item = &'a Attribute> {
    attributes.iter().filter(|attribute| is(attribute, names))
}

fn is(attribute: &Attribute, names: &[&str]) -> bool {
    names.iter().any(|name| attribute.path().is_ident(name))
}

struct Options {
    facade: Path,
    /// Empty means all.
    only: Vec<Ident>,
    first: TokenStream,
    end: TokenStream,
}

impl Options {
    fn parse(attribute: TokenStream) -> Result<Self> {
        let (mut facade, mut only) = (default_facade(), Vec::new());
        let (mut seed, mut seeds): (Option<LitInt>, Option<LitInt>) = (None, None);
        for entry in entries(attribute)? {
            let name = entry.name.to_string();
            match name.as_str() {
                "crate" => facade = entry.facade()?,
                "seed" => seed = Some(entry.integer()?),
                "seeds" => seeds = Some(entry.integer()?),
                _ if BACKENDS.iter().any(|backend| identifier(backend) == name) => {
                    only.push(entry.flag()?);
                }
                other => {
                    let backends: Vec<_> = BACKENDS.iter().map(|b| b.replace('-', "_")).collect();
                    let text = format!(
                        "unknown option `{other}`; `test` takes backends ({}), `seed = n`, \
                         `seeds = n` and `crate = path`",
                        backends.join(", ")
                    );
                    return Err(Error::new(entry.name.span(), text));
                }
            }
        }
        let simulated = only.is_empty() || only.iter().any(|backend| backend == "sim");
        if let (Some(number), false) = (seed.as_ref().or(seeds.as_ref()), simulated) {
            let text = "seeds are of the simulator: add `sim` to the backends";
            return Err(Error::new(number.span(), text));
        }
        let (first, end) = match (seed, seeds) {
            (Some(_), Some(both)) => {
                let text = "`seed` runs one world and `seeds` many: give one of them";
                return Err(Error::new(both.span(), text));
            }
            (Some(seed), None) => {
                let seed: u64 = seed.base10_parse()?;
                match seed.checked_add(1) {
                    Some(end) => (quote!(#seed), quote!(#end)),
                    None => return Err(Error::new(attribute_span(), "`seed` is at most 2^64 - 2")),
                }
            }
            (None, Some(seeds)) => {
                let count: u64 = seeds.base10_parse()?;
                if count == 0 {
                    let text = "`seeds = 0` would test nothing";
                    return Err(Error::new(seeds.span(), text));
                }
                (quote!(0u64), quote!(#count))
            }
            (None, None) => (quote!(0u64), quote!(1u64)),
        };
        Ok(Options {
            facade,
            only,
            first,
            end,
        })
    }

    fn wants(&self, backend: &str) -> bool {
        self.only.is_empty() || self.only.contains(&identifier(backend))
    }
}

fn attribute_span() -> proc_macro2::Span {
    proc_macro2::Span::call_site()
}

#[cfg(test)]
mod unit {
    use super::*;

    fn refusal(attribute: TokenStream, item: TokenStream) -> String {
        match try_expand(attribute, item) {
            Ok(tokens) => panic!("accepted: {tokens}"),
            Err(error) => error.to_string(),
        }
    }

    fn expansion(attribute: TokenStream) -> String {
        let item = quote!(
            #[should_panic]
            #[cfg(unix)]
            async fn works() {}
        );
        try_expand(attribute, item).unwrap().to_string()
    }

    #[test]
    fn refusals_say_what_to_write_instead() {
        let item = || {
            quote!(
                async fn works() {}
            )
        };
        assert!(
            refusal(
                quote!(),
                quote!(
                    fn works() {}
                )
            )
            .contains("must be async")
        );
        let panics = quote!(
            #[should_panic]
            async fn works() -> Result<(), E> {}
        );
        assert!(refusal(quote!(), panics).contains("returns nothing"));
        assert!(refusal(quote!(loom), item()).starts_with("unknown option `loom`"));
        assert!(refusal(quote!(tokio, seeds = 4), item()).contains("add `sim`"));
        assert!(refusal(quote!(seed = 1, seeds = 4), item()).contains("give one of them"));
        assert!(refusal(quote!(seeds = 0), item()).contains("test nothing"));
        assert!(refusal(quote!(seed = "x"), item()).contains("takes a number"));
        assert!(refusal(quote!(sim = 3), item()).contains("takes no value"));
    }

    #[test]
    fn every_backend_has_its_test_unless_some_are_named() {
        let all = expansion(quote!());
        for backend in ["tokio", "smol", "async_std", "sim"] {
            assert!(
                all.contains(&format!("fn {backend} ()")),
                "{backend} in {all}"
            );
        }
        let two = expansion(quote!(smol, sim));
        assert!(two.contains("fn smol ()") && two.contains("fn sim ()"));
        assert!(!two.contains("fn tokio ()"));
    }

    #[test]
    fn outcomes_go_to_the_tests_and_conditions_to_both() {
        let tokens = expansion(quote!(tokio));
        assert_eq!(tokens.matches("should_panic").count(), 1);
        assert_eq!(tokens.matches("cfg (unix)").count(), 2);
    }

    #[test]
    fn seeds_are_a_range() {
        assert!(expansion(quote!(seeds = 200)).contains("0u64 .. 200u64"));
        assert!(expansion(quote!(seed = 7)).contains("7u64 .. 8u64"));
        assert!(expansion(quote!()).contains("0u64 .. 1u64"));
    }
}
