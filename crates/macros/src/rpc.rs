//! `#[bowline::rpc]`.

pub(crate) mod call_type;
pub(crate) mod declaration;
mod digest;
pub(crate) mod items;
pub(crate) mod options;
pub(crate) mod refused;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::parse::Parse;
use syn::{Item, ItemFn};

use call_type::CallType;
use declaration::Declaration;
use options::Options;

/// The whole expansion; a refusal becomes a `compile_error!` beside the function.
pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    match try_expand(attribute, item.clone()) {
        Ok(tokens) => tokens,
        Err(error) => refused::beside(&error, item),
    }
}

fn try_expand(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let options = Options::parse(attribute)?;
    let function: ItemFn = the_item(item, "`#[bowline::rpc]` goes on a function")?;
    let declaration = Declaration::of(&function)?;
    options.check(&declaration)?;
    Ok(generate(&options, &declaration, &function))
}

/// What the attribute is on; `goes_on` says what that should be, if it is something else.
pub(crate) fn the_item<T: Parse>(item: TokenStream, goes_on: &str) -> syn::Result<T> {
    syn::parse2(item.clone()).map_err(|error| match syn::parse2::<Item>(item) {
        // Something, and whole.
        Ok(other) => syn::Error::new_spanned(other, goes_on),
        Err(_) => error,
    })
}

fn generate(options: &Options, declaration: &Declaration, function: &ItemFn) -> TokenStream {
    let Declaration {
        name,
        arguments,
        types,
        inputs,
        context,
        is_async,
        incoming,
        ..
    } = declaration;
    let facade = &options.facade;
    let rpc = quote!(#facade::rpc);
    let visibility = &function.vis;
    let (docs, others): (Vec<_>, Vec<_>) = function
        .attrs
        .iter()
        .partition(|attr| attr.path().is_ident("doc"));
    let text = name.unraw().to_string();
    let summary = if declaration.streams() {
        format!("A call of `{text}`, which has items: a broker opens it where it finds it.")
    } else {
        format!(
            "A call of `{text}`: awaited it runs here, given to a broker it runs where the broker finds it."
        )
    };
    let shown = format!("{text}(..)");

    let declared = match &options.name {
        Some(chosen) => quote!(#rpc::DeclaredName::explicit(#chosen)),
        None => {
            let digest = digest::of_function(function);
            quote!(#rpc::DeclaredName::automatic(::core::module_path!(), #text, #digest))
        }
    };
    let output = &declaration.output;

    let body = format_ident!("__body_of_{}", name);
    let block = &function.block;
    let asyncness = &function.sig.asyncness;
    let wait = is_async.then(|| quote!(.await));
    // No argument may shadow it.
    let given = context.then(|| quote!(::core::clone::Clone::clone(&__context),));
    let items = incoming.as_ref().map(|_| quote!(__incoming));
    let empty = context.then(|| quote!(#rpc::Context::empty(),));
    let running = quote!(#body(#given #(#arguments,)* #items) #wait);
    let outcome = declaration.outcome_of(&running);
    let call = CallType {
        rpc: &rpc,
        name,
        declaration,
        declared,
        spec: options.spec(declaration, &rpc),
        run: quote! {
            let _ = &__context;
            let #name { #(#arguments),* } = self;
            #outcome
        },
    }
    .implementation();
    let here_and_now = (!declaration.streams()).then(|| {
        let run_doc = "Runs it here and now, with an empty context.";
        let (future, ready) = if *is_async {
            (
                quote!(::core::pin::Pin<::std::boxed::Box<dyn ::core::future::Future<Output = #output> + ::core::marker::Send>>),
                quote!(::std::boxed::Box::pin(self.run())),
            )
        } else {
            (
                quote!(::core::future::Ready<#output>),
                quote!(::core::future::ready(self.run())),
            )
        };
        quote! {
            impl #name {
                #[doc = #run_doc]
                #visibility #asyncness fn run(self) -> #output {
                    let #name { #(#arguments),* } = self;
                    #body(#empty #(#arguments),*) #wait
                }
            }

            impl ::core::future::IntoFuture for #name {
                type Output = #output;
                type IntoFuture = #future;

                fn into_future(self) -> Self::IntoFuture {
                    #ready
                }
            }
        }
    });

    quote! {
        #[doc = #summary]
        #[allow(non_camel_case_types)]
        #[must_use = "a call does nothing unless it is awaited or given to a broker"]
        #visibility struct #name { #(#arguments: #types),* }

        #(#docs)*
        #visibility fn #name(#(#arguments: #types),*) -> #name {
            #name { #(#arguments),* }
        }

        const _: () = {
            #(#others)*
            #asyncness fn #body(#(#inputs),*) -> #output #block

            #call

            #here_and_now

            impl ::core::fmt::Debug for #name {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.write_str(#shown)
                }
            }
        };
    }
}
