//! What a function with the attribute declares, and what it may not.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, ItemFn, Pat, PathArguments, Result,
    ReturnType, Safety, Type,
};

use super::items::{Items, incoming};
use super::refused::is_rpc;

/// Most arguments, the context not counted.
const MAX_ARGUMENTS: usize = 12;

pub(crate) struct Declaration {
    pub(crate) name: Ident,
    pub(crate) arguments: Vec<Ident>,
    pub(crate) types: Vec<Type>,
    /// Which of them may be left out of a call by names.
    pub(crate) defaults: Vec<bool>,
    /// The parameters as the body has them.
    pub(crate) inputs: Vec<FnArg>,
    /// Whether the first parameter is the context.
    pub(crate) context: bool,
    pub(crate) is_async: bool,
    /// What the function returns as written; `()` if nothing is.
    pub(crate) output: TokenStream,
    pub(crate) returns: Returns,
    /// The items of its caller, if the last parameter is those.
    pub(crate) incoming: Option<Type>,
    /// The stream it returns, if it does.
    pub(crate) items: Option<Items>,
}

pub(crate) enum Returns {
    Value(TokenStream),
    Result(Box<Type>, Box<Type>),
}

impl Declaration {
    pub(crate) fn of(function: &ItemFn) -> Result<Self> {
        let signature = &function.sig;
        if let Some(generic) = signature.generics.params.first() {
            return Err(Error::new(
                generic.span(),
                "a method has no generics: its arguments have to travel",
            ));
        }
        for (present, what) in [
            (
                signature.safety.span(),
                matches!(signature.safety, Safety::Unsafe(_)).then_some("unsafe"),
            ),
            (
                signature.constness.span(),
                signature.constness.is_some().then_some("const"),
            ),
            (
                signature.abi.span(),
                signature.abi.is_some().then_some("extern"),
            ),
            (
                signature.variadic.span(),
                signature.variadic.is_some().then_some("variadic"),
            ),
        ] {
            if let Some(what) = what {
                return Err(Error::new(present, format!("a method is not `{what}`")));
            }
        }
        let items = Items::of(&signature.output)?;
        let returns = match &items {
            Some(_) => Returns::Value(quote!(())),
            None => returns(&signature.output)?,
        };
        let mut declaration = Declaration {
            name: signature.ident.clone(),
            arguments: Vec::new(),
            types: Vec::new(),
            defaults: Vec::new(),
            inputs: Vec::new(),
            context: false,
            is_async: signature.asyncness.is_some(),
            output: match &signature.output {
                ReturnType::Default => quote!(()),
                ReturnType::Type(_, output) => quote!(#output),
            },
            incoming: None,
            returns,
            items,
        };
        for (place, input) in signature.inputs.iter().enumerate() {
            let last = place + 1 == signature.inputs.len();
            declaration.add(place, last, input)?;
        }
        if declaration.incoming.is_some() && !declaration.is_async && declaration.items.is_none() {
            return Err(Error::new(
                signature.fn_token.span(),
                "what takes items of its caller is an `async fn`, or returns a stream",
            ));
        }
        Ok(declaration)
    }

    fn add(&mut self, place: usize, last: bool, input: &FnArg) -> Result<()> {
        let FnArg::Typed(argument) = input else {
            return Err(Error::new(
                input.span(),
                "a method is a free function: it has no `self`",
            ));
        };
        let default = is_default(&argument.attrs)?;
        let mut plain = argument.clone();
        plain.attrs.clear();
        self.inputs.push(FnArg::Typed(plain));
        if place == 0 && last_segment(&argument.ty).is_some_and(|segment| segment == "Context") {
            if default {
                return Err(Error::new(
                    argument.span(),
                    "the context is no argument, so it has no default",
                ));
            }
            self.context = true;
            return Ok(());
        }
        if last_segment(&argument.ty).is_some_and(|segment| segment == "Context") {
            let text = "the context is the first parameter";
            return Err(Error::new(argument.span(), text));
        }
        if let Some(item) = incoming(&argument.ty) {
            if !last {
                let text = "the items of the caller are the last parameter";
                return Err(Error::new(argument.span(), text));
            }
            if default {
                let text = "the items of the caller are no argument, so they have no default";
                return Err(Error::new(argument.span(), text));
            }
            self.incoming = Some(item);
            return Ok(());
        }
        let Pat::Ident(pattern) = &*argument.pat else {
            return Err(Error::new(
                argument.pat.span(),
                "a parameter of a method is a plain name",
            ));
        };
        check_owned(&argument.ty)?;
        if self.types.len() == MAX_ARGUMENTS {
            return Err(Error::new(
                argument.span(),
                "a method has at most 12 arguments",
            ));
        }
        self.arguments.push(pattern.ident.clone());
        self.types.push((*argument.ty).clone());
        self.defaults.push(default);
        Ok(())
    }

    /// `( i64 , i64 ) -> i64`: what the schema hash is made of.
    pub(crate) fn schema(&self) -> TokenStream {
        let (types, output) = (&self.types, &self.output);
        let items = self.incoming.iter().map(|item| quote!(Incoming<#item>));
        let all = types.iter().map(ToTokens::to_token_stream).chain(items);
        quote!((#(#all),*) -> #output)
    }

    /// Whether a call of it has items.
    pub(crate) fn streams(&self) -> bool {
        self.incoming.is_some() || self.items.is_some()
    }

    /// What a broker makes of its calls.
    pub(crate) fn request(&self, rpc: &TokenStream) -> TokenStream {
        match self.streams() {
            true => quote!(#rpc::Opened),
            false => quote!(#rpc::Typed),
        }
    }

    /// The reply and the error of its calls.
    pub(crate) fn outcome(&self, rpc: &TokenStream) -> (TokenStream, TokenStream) {
        let none = quote!(#rpc::NoError);
        match (&self.items, &self.returns) {
            (Some(items), _) => {
                let error = items.error.as_ref().map(ToTokens::to_token_stream);
                (quote!(()), error.unwrap_or(none))
            }
            (None, Returns::Value(reply)) => (reply.clone(), none),
            (None, Returns::Result(reply, error)) => (quote!(#reply), quote!(#error)),
        }
    }

    /// Makes a `Result` of reply and error of what `running` gives, which has its items, if it takes
    /// any, as `__incoming`.
    pub(crate) fn outcome_of(&self, running: &TokenStream) -> TokenStream {
        let incoming = self
            .incoming
            .as_ref()
            .map(|item| quote!(let __incoming = __context.incoming::<#item>();));
        match (&self.items, &self.returns) {
            (Some(items), _) => {
                let send = items.send();
                quote!(#incoming let __returned = #running; #send)
            }
            (None, Returns::Value(_)) => quote!(#incoming ::core::result::Result::Ok(#running)),
            (None, Returns::Result(..)) => quote!(#incoming #running),
        }
    }
}

/// Whether the attributes of a parameter are `#[rpc(default)]`.
fn is_default(attributes: &[Attribute]) -> Result<bool> {
    let Some(first) = attributes.first() else {
        return Ok(false);
    };
    let word = |attribute: &Attribute| attribute.parse_args::<Ident>();
    if is_rpc(first) && word(first).is_ok_and(|word| word == "default") {
        return match attributes.get(1) {
            None => Ok(true),
            Some(second) => Err(Error::new(second.span(), ATTRIBUTES)),
        };
    }
    Err(Error::new(first.span(), ATTRIBUTES))
}

const ATTRIBUTES: &str = "the parameters of a method take no attribute but `#[rpc(default)]`";

fn returns(output: &ReturnType) -> Result<Returns> {
    let ReturnType::Type(_, output) = output else {
        return Ok(Returns::Value(quote!(())));
    };
    check_owned(output)?;
    let Type::Path(path) = &**output else {
        return Ok(Returns::Value(output.to_token_stream()));
    };
    match path.path.segments.last() {
        Some(last) if last.ident == "Result" => {
            let text = "a method that can fail returns `Result<T, E>` with both types named";
            let PathArguments::AngleBracketed(list) = &last.arguments else {
                return Err(Error::new(output.span(), text));
            };
            let types: Vec<_> = list.args.iter().collect();
            match types[..] {
                [GenericArgument::Type(reply), GenericArgument::Type(error)] => Ok(
                    Returns::Result(Box::new(reply.clone()), Box::new(error.clone())),
                ),
                _ => Err(Error::new(output.span(), text)),
            }
        }
        _ => Ok(Returns::Value(output.to_token_stream())),
    }
}

fn last_segment(given: &Type) -> Option<&Ident> {
    match given {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    }
}

/// Refuses what cannot travel at first sight; serde's traits refuse the rest.
fn check_owned(given: &Type) -> Result<()> {
    match given {
        Type::Reference(_) => Err(Error::new(
            given.span(),
            "this has to travel, so it cannot be borrowed",
        )),
        Type::ImplTrait(_) => Err(Error::new(
            given.span(),
            "this has to travel, so its type has to be named",
        )),
        Type::Ptr(_) | Type::FnPtr(_) | Type::TraitObject(_) => {
            Err(Error::new(given.span(), "this cannot travel"))
        }
        _ => Ok(()),
    }
}
