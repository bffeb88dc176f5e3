//! The implementation of `Call` for the type of a method's calls.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Ident;
use syn::spanned::Spanned;

use super::declaration::Declaration;

pub(crate) struct CallType<'a> {
    /// The path of the facade's `rpc`.
    pub(crate) rpc: &'a TokenStream,
    /// A struct whose fields are the arguments.
    pub(crate) name: &'a Ident,
    pub(crate) declaration: &'a Declaration,
    /// The declared name.
    pub(crate) declared: TokenStream,
    /// The options.
    pub(crate) spec: TokenStream,
    /// The body of `run(self, __context)`.
    pub(crate) run: TokenStream,
}

impl CallType<'_> {
    pub(crate) fn implementation(&self) -> TokenStream {
        let CallType {
            rpc,
            name,
            declaration,
            declared,
            spec,
            run,
        } = self;
        let Declaration {
            arguments,
            types,
            defaults,
            ..
        } = declaration;
        let (reply, error) = declaration.outcome(rpc);
        let request = declaration.request(rpc);
        let streams = declaration.streams().then(|| {
            let none = quote!(#rpc::NoItem);
            let (sends, receives) = (&declaration.incoming, &declaration.items);
            let sends = sends.as_ref().map_or(none.clone(), |item| quote!(#item));
            let receives = receives.as_ref().map_or(none, |items| {
                let item = &items.item;
                quote!(#item)
            });
            quote! {
                impl #rpc::StreamingCall for #name {
                    type Sends = #sends;
                    type Receives = #receives;
                }
            }
        });
        // What it lacks is told of each where it stands, beside what all of them together lack.
        let travel = types.iter().map(
            |argument| quote_spanned!(argument.span()=> #rpc::__private::travels::<#argument>();),
        );
        let private = quote!(#rpc::__private::serde);
        let serde = private.to_string();
        let default = defaults
            .iter()
            .map(|default| default.then(|| quote!(#[serde(default)])));
        quote! {
            // Without arguments the tuple is the unit.
            #[allow(clippy::unused_unit)]
            impl #rpc::Call for #name {
                type Args = (#(#types,)*);
                type Reply = #reply;
                type Error = #error;
                type Request = #request<Self>;
                const NAME: #rpc::DeclaredName = #declared;
                const SPEC: #rpc::MethodSpec = #spec;

                fn into_args(self) -> Self::Args {
                    let #name { #(#arguments),* } = self;
                    (#(#arguments,)*)
                }

                fn from_args((#(#arguments,)*): Self::Args) -> Self {
                    #name { #(#arguments),* }
                }

                fn from_named(
                    __arguments: #rpc::NamedArguments<'_>,
                ) -> ::core::result::Result<Self, #rpc::BadArguments> {
                    #[derive(#private::Deserialize)]
                    #[serde(crate = #serde, deny_unknown_fields)]
                    struct __Named { #(#default #arguments: #types),* }
                    let __Named { #(#arguments),* } = __arguments.decode::<__Named>()?;
                    ::core::result::Result::Ok(#name { #(#arguments),* })
                }

                async fn run(self, __context: #rpc::Context) -> ::core::result::Result<#reply, #error> {
                    #run
                }
            }

            #streams

            const _: fn() = || { #(#travel)* };
        }
    }
}
