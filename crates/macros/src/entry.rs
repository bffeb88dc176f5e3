//! `#[bowline::main]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Ident, ItemFn, Path, Result, Signature};

use crate::options::{BACKENDS, default_facade, entries, identifier};

/// The whole expansion; a refusal becomes a `compile_error!` beside the untouched function, so
/// that the compiler does not also complain that the function is missing.
pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    match try_expand(attribute, item.clone()) {
        Ok(tokens) => tokens,
        Err(error) => without_entry(&error, item),
    }
}

fn try_expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(attribute)?;
    let ItemFn {
        attrs,
        vis,
        sig,
        block,
        ..
    } = function(item, "main")?;
    let (name, output, facade) = (&sig.ident, &sig.output, &options.facade);
    let (check, backend) = match &options.backend {
        None => (
            quote!(#facade::__require_backend!();),
            quote!(<#facade::backend::Backend as ::core::default::Default>::default()),
        ),
        Some(chosen) => {
            let with = quote::format_ident!("__with_{}", identifier(chosen));
            let text =
                format!("backend {chosen} is not in this build: turn on its feature of bowline");
            (
                quote!(#facade::#with! { {} { ::core::compile_error!(#text); } }),
                quote!({
                    let chosen = #facade::backend::Backend::from_name(#chosen);
                    chosen.expect("its feature is on")
                }),
            )
        }
    };
    // In a child that is a worker nothing else is to run.
    let workers = (!options.workers.is_empty()).then(|| {
        let pools = options.workers.iter().map(|(pool, build)| {
            let pool = pool.to_string();
            quote!((#pool, #build))
        });
        quote!(#facade::rpc::worker_entry(&[#(#pools),*]);)
    });
    Ok(quote! {
        #(#attrs)*
        #vis fn #name() #output {
            #workers
            #check
            async fn #name() #output #block
            #facade::concurrency::Root::new().backend(#backend).block_on(#name())
        }
    })
}

/// The error, and the function made plain so that it exists.
fn without_entry(error: &Error, item: TokenStream) -> TokenStream {
    let error = error.to_compile_error();
    match syn::parse2::<ItemFn>(item) {
        Ok(function) => {
            let name = &function.sig.ident;
            quote!(#error fn #name() {})
        }
        Err(_) => error,
    }
}

struct Options {
    facade: Path,
    backend: Option<String>,
    /// Pools of worker processes, each with the function that builds its registry.
    workers: Vec<(Ident, Path)>,
}

impl Options {
    fn parse(attribute: TokenStream) -> Result<Self> {
        let mut options = Options {
            facade: default_facade(),
            backend: None,
            workers: Vec::new(),
        };
        for entry in entries(attribute)? {
            match entry.name.to_string().as_str() {
                "crate" => options.facade = entry.facade()?,
                "workers" => options.workers = entry.paths()?,
                "backend" => {
                    let text = entry.string()?;
                    let name = text.value();
                    if !BACKENDS.contains(&name.as_str()) {
                        let known = BACKENDS.join(", ");
                        let text_of = format!("no backend is named `{name}`; there are {known}");
                        return Err(Error::new(text.span(), text_of));
                    }
                    options.backend = Some(name);
                }
                other => {
                    let text = format!(
                        "unknown option `{other}`; `main` takes `backend = \"..\"`, `workers(..)` and `crate = path`"
                    );
                    return Err(Error::new(entry.name.span(), text));
                }
            }
        }
        Ok(options)
    }
}

/// The function that stands under the attribute, if it can be a `main` or a test.
pub(crate) fn function(item: TokenStream, attribute: &str) -> Result<ItemFn> {
    let function: ItemFn = syn::parse2(item).map_err(|error| {
        let text = format!("`#[bowline::{attribute}]` goes on an `async fn` without arguments");
        Error::new(error.span(), text)
    })?;
    check_signature(&function.sig, attribute)?;
    Ok(function)
}

fn check_signature(signature: &Signature, attribute: &str) -> Result<()> {
    let refuse = |tokens: &dyn quote::ToTokens, why: &str| {
        let text = format!("a function with `#[bowline::{attribute}]` {why}");
        Err(Error::new_spanned(tokens.to_token_stream(), text))
    };
    if signature.asyncness.is_none() {
        return refuse(&signature.fn_token, "must be async: write `async fn`");
    }
    if let syn::Safety::Unsafe(token) = &signature.safety {
        return refuse(token, "cannot be unsafe");
    }
    if let Some(abi) = &signature.abi {
        return refuse(abi, "cannot have a foreign calling convention");
    }
    if !signature.inputs.is_empty() {
        return refuse(&signature.inputs, "takes no arguments");
    }
    if !signature.generics.params.is_empty() {
        return refuse(&signature.generics, "cannot be generic");
    }
    Ok(())
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

    #[test]
    fn refusals_say_what_to_write_instead() {
        let main = || {
            quote!(
                async fn main() {}
            )
        };
        assert_eq!(
            refusal(
                quote!(),
                quote!(
                    fn main() {}
                )
            ),
            "a function with `#[bowline::main]` must be async: write `async fn`"
        );
        assert!(
            refusal(
                quote!(),
                quote!(
                    async fn main(a: u8) {}
                )
            )
            .contains("takes no arguments")
        );
        assert!(
            refusal(
                quote!(),
                quote!(
                    async fn main<T>() {}
                )
            )
            .contains("cannot be generic")
        );
        assert!(
            refusal(
                quote!(),
                quote!(
                    struct Main;
                )
            )
            .contains("goes on an `async fn`")
        );
        assert_eq!(
            refusal(quote!(backend = "tokyo"), main()),
            "no backend is named `tokyo`; there are tokio, smol, async-std, sim"
        );
        assert!(refusal(quote!(flavor = "x"), main()).starts_with("unknown option `flavor`"));
        assert!(refusal(quote!(backend), main()).contains("takes a string"));
        assert!(refusal(quote!(workers), main()).contains("takes a list"));
        assert!(refusal(quote!(workers(pool)), main()).contains("`pool` takes the path"));
    }

    #[test]
    fn a_refused_function_still_exists() {
        let tokens = expand(
            quote!(),
            quote!(
                fn main(a: u8) {}
            ),
        )
        .to_string();
        assert!(tokens.contains("compile_error"));
        assert!(tokens.contains("fn main ()"));
    }

    #[test]
    fn the_facade_may_be_elsewhere() {
        let attribute = quote!(crate = ::web::bowline, backend = "async-std");
        let tokens = try_expand(
            attribute,
            quote!(
                async fn main() {}
            ),
        );
        let tokens = tokens.unwrap().to_string();
        assert!(tokens.contains(":: web :: bowline :: __with_async_std !"));
        assert!(!tokens.contains(":: bowline :: bowline"));
    }
}
