//! `#[bowline::service]`.

#[cfg(test)]
mod tests;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::{
    Attribute, Error, FnArg, Ident, ItemFn, ItemTrait, LitStr, Path, Result, TraitItem,
    TraitItemFn, parse_quote,
};

use crate::options::{default_facade, entries};
use crate::rpc::call_type::CallType;
use crate::rpc::declaration::Declaration;
use crate::rpc::items::in_a_trait;
use crate::rpc::options::{self as rpc_options, check_name};
use crate::rpc::refused::{self, is_rpc};

/// The whole expansion; a refusal becomes a `compile_error!` beside the trait.
pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    match try_expand(attribute, item.clone()) {
        Ok(tokens) => tokens,
        Err(error) => refused::beside(&error, item),
    }
}

struct Options {
    facade: Path,
    name: Option<LitStr>,
}

impl Options {
    fn parse(attribute: TokenStream) -> Result<Self> {
        let mut options = Options {
            facade: default_facade(),
            name: None,
        };
        for entry in entries(attribute)? {
            match entry.name.to_string().as_str() {
                "crate" => options.facade = entry.facade()?,
                "name" => {
                    let name = entry.string()?;
                    check_name(&name)?;
                    options.name = Some(name);
                }
                other => {
                    let text = format!("`{other}` is no option; there are `name` and `crate`");
                    return Err(Error::new(entry.name.span(), text));
                }
            }
        }
        Ok(options)
    }
}

/// One method of the trait.
struct Method {
    /// The documentation and what else stands above it, but not `#[rpc]`.
    attributes: Vec<Attribute>,
    declaration: Declaration,
    options: rpc_options::Options,
    /// The type of its calls.
    call: Ident,
}

fn try_expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(attribute)?;
    let service: ItemTrait = syn::parse2(item)
        .map_err(|error| Error::new(error.span(), "`#[bowline::service]` goes on a trait"))?;
    if let Some(generic) = service.generics.params.first() {
        return Err(Error::new_spanned(
            generic,
            "a service has no generics: what its methods take has to travel",
        ));
    }
    if let Some(unsafety) = &service.unsafety {
        return Err(Error::new_spanned(unsafety, "a service is not `unsafe`"));
    }
    let mut methods = Vec::new();
    for item in &service.items {
        let TraitItem::Fn(method) = item else {
            return Err(Error::new_spanned(item, "a service has methods alone"));
        };
        methods.push(Method::of(&service.ident, method)?);
    }
    Ok(generate(&options, &service, &methods))
}

impl Method {
    fn of(service: &Ident, method: &TraitItemFn) -> Result<Self> {
        let signature = &method.sig;
        check_free(&signature.ident)?;
        if let Some(block) = &method.default {
            return Err(Error::new_spanned(
                block,
                "a method of a service has no body here: what implements the trait has it",
            ));
        }
        match signature.inputs.first() {
            Some(receiver @ FnArg::Receiver(_)) if quote!(#receiver).to_string() == "& self" => {}
            first => {
                let text = "a method of a service takes `&self`: many calls run at once";
                return Err(match first {
                    Some(first) => Error::new_spanned(first, text),
                    None => Error::new_spanned(&signature.ident, text),
                });
            }
        }
        let mut free = signature.clone();
        free.inputs = free.inputs.into_iter().skip(1).collect();
        let function: ItemFn = parse_quote!(#free {});
        let declaration = Declaration::of(&function)?;
        if !declaration.is_async && declaration.items.is_none() {
            return Err(Error::new_spanned(
                signature.fn_token,
                "a method of a service is an `async fn`, or returns a stream",
            ));
        }
        let (rpc, attributes): (Vec<_>, Vec<_>) = method.attrs.iter().cloned().partition(is_rpc);
        let options = match &rpc[..] {
            [] => rpc_options::Options::parse(TokenStream::new())?,
            [one] => rpc_options::Options::of(one)?,
            [_, second, ..] => {
                return Err(Error::new_spanned(second, "`#[rpc(..)]` stands here once"));
            }
        };
        options.check(&declaration)?;
        Ok(Self {
            attributes,
            call: format_ident!("__{}_{}", service, declaration.name),
            declaration,
            options,
        })
    }
}

/// Refuses a method whose name the client has for something else.
fn check_free(name: &Ident) -> Result<()> {
    let plain = name.unraw().to_string();
    let what = match plain.as_str() {
        "new" => "makes the client",
        "clone" => "clones the client",
        // Of every type, and found first as they take it by value.
        "into" | "try_into" => "converts the client",
        _ => return Ok(()),
    };
    let text = format!(
        "`{plain}` {what} that this trait gives: call the method otherwise, and put \
         `#[rpc(name = \"{plain}\")]` above it if that is its name for peers"
    );
    Err(Error::new(name.span(), text))
}

fn generate(options: &Options, service: &ItemTrait, methods: &[Method]) -> TokenStream {
    let facade = &options.facade;
    let rpc = quote!(#facade::rpc);
    let (name, visibility, attributes) = (&service.ident, &service.vis, &service.attrs);
    let supertraits = service.supertraits.iter();
    let lower = snake(&name.to_string());
    let client = format_ident!("{}Client", name);
    let register = format_ident!("{}_service", lower);
    let signatures = methods.iter().map(Method::signature);
    let calls = methods
        .iter()
        .map(|it| it.call_type(options, &lower, visibility, &rpc));
    let broker = broker_of(service);
    let ways = methods.iter().map(|it| it.way_to_call(&broker, &rpc));
    let served = methods.iter().map(|it| it.served(name, &rpc));
    let client_doc = format!("Calls the methods of a [`{name}`] wherever its broker finds them.");
    let new_doc = "Calls through `broker`, or a clone of it.";
    let register_doc = format!(
        "The methods of `implementation`, for `Registry::register_all`: a [`{name}`] that \
         [`{client}`] calls."
    );
    let shown = client.to_string();
    quote! {
        #(#attributes)*
        #visibility trait #name: #(#supertraits +)* ::core::marker::Send + ::core::marker::Sync + 'static {
            #(#signatures)*
        }

        #(#calls)*

        #[doc = #client_doc]
        #visibility struct #client<#broker>(#broker);

        impl<#broker: #rpc::Broker> #client<#broker> {
            #[doc = #new_doc]
            #visibility fn new(broker: #broker) -> Self {
                #client(broker)
            }

            #(#ways)*
        }

        impl<#broker: ::core::clone::Clone> ::core::clone::Clone for #client<#broker> {
            fn clone(&self) -> Self {
                #client(::core::clone::Clone::clone(&self.0))
            }
        }

        impl<#broker> ::core::fmt::Debug for #client<#broker> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(#shown)
            }
        }

        #[doc = #register_doc]
        #visibility fn #register(
            implementation: impl #name,
        ) -> impl ::core::iter::IntoIterator<Item = #rpc::MethodDef> {
            let __implementation = ::std::sync::Arc::new(implementation);
            [#(#served),*]
        }
    }
}

impl Method {
    /// As the trait has it: what implements it may write `async fn`.
    fn signature(&self) -> TokenStream {
        let (attributes, name) = (&self.attributes, &self.declaration.name);
        let inputs = &self.declaration.inputs;
        let output = in_a_trait(&self.declaration.output);
        let output = if self.declaration.is_async {
            quote!(impl ::core::future::Future<Output = #output> + ::core::marker::Send)
        } else {
            output
        };
        quote! {
            #(#attributes)*
            fn #name(
                &self,
                #(#inputs),*
            ) -> #output;
        }
    }

    fn call_type(
        &self,
        options: &Options,
        lower: &str,
        visibility: &syn::Visibility,
        rpc: &TokenStream,
    ) -> TokenStream {
        let (call, declaration) = (&self.call, &self.declaration);
        let Declaration {
            name,
            arguments,
            types,
            ..
        } = declaration;
        let own = match &self.options.name {
            Some(name) => name.value(),
            None => name.unraw().to_string(),
        };
        let declared = match &options.name {
            Some(service) => {
                let full = format!("{}.{own}", service.value());
                quote!(#rpc::DeclaredName::explicit(#full))
            }
            None => {
                let full = format!("{lower}.{own}");
                quote!(#rpc::DeclaredName::automatic("", #full, ""))
            }
        };
        let text = format!("a call of `{lower}.{own}` runs where the service is");
        let implementation = CallType {
            rpc,
            name: call,
            declaration,
            declared,
            spec: self.options.spec(declaration, rpc),
            run: quote! {
                let _ = (self, __context);
                ::core::panic!(#text)
            },
        }
        .implementation();
        quote! {
            #[doc(hidden)]
            #[allow(non_camel_case_types)]
            #visibility struct #call { #(#arguments: #types),* }

            const _: () = { #implementation };
        }
    }

    /// The method of the client.
    fn way_to_call(&self, broker: &Ident, rpc: &TokenStream) -> TokenStream {
        let (call, declaration) = (&self.call, &self.declaration);
        let request = declaration.request(rpc);
        let Declaration {
            name,
            arguments,
            types,
            ..
        } = declaration;
        let docs = self
            .attributes
            .iter()
            .filter(|it| it.path().is_ident("doc"));
        quote! {
            #(#docs)*
            pub fn #name(&self, #(#arguments: #types),*) -> #rpc::CallBuilder<#broker, #request<#call>> {
                #rpc::Caller::call(&self.0, #call { #(#arguments),* })
            }
        }
    }

    /// The method as a registry takes it.
    fn served(&self, service: &Ident, rpc: &TokenStream) -> TokenStream {
        let (call, declaration) = (&self.call, &self.declaration);
        let Declaration {
            name,
            arguments,
            context,
            incoming,
            is_async,
            ..
        } = declaration;
        let context = context.then(|| quote!(::core::clone::Clone::clone(&__context),));
        let items = incoming.as_ref().map(|_| quote!(__incoming));
        let wait = is_async.then(|| quote!(.await));
        // By its path: what it is shared by has methods too, `clone` or `as_ref` say.
        let running =
            quote!(#service::#name(&*__implementation, #context #(#arguments,)* #items) #wait);
        let outcome = declaration.outcome_of(&running);
        quote! {
            {
                let __implementation = ::std::sync::Arc::clone(&__implementation);
                #rpc::MethodDef::served::<#call, _, _>(move |__context, (#(#arguments,)*)| {
                    let __implementation = ::std::sync::Arc::clone(&__implementation);
                    async move {
                        let _ = &__context;
                        #outcome
                    }
                })
            }
        }
    }
}

/// The type parameter of the client: `C`, unless the trait has something of that name.
fn broker_of(service: &ItemTrait) -> Ident {
    let free = |name: &&str| !has(service.to_token_stream(), name);
    let name = ["C", "B", "CallsBy"].into_iter().find(free);
    Ident::new(name.unwrap_or("__Broker"), Span::mixed_site())
}

/// Whether there is such a word among the tokens.
fn has(tokens: TokenStream, name: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == name,
        TokenTree::Group(group) => has(group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// `WordCount` is `word_count`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for (place, letter) in name.char_indices() {
        if letter.is_uppercase() && place > 0 {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}
