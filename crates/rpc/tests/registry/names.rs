//! What a registry promises before a broker is there.

use bowline_rpc::{MethodDef, Registry, RegistryError};

use crate::backends::{div, fall};

// RG1
#[test]
fn automatic_names_are_project_module_and_function() {
    assert_eq!(
        Registry::new("example").register(div).unwrap(),
        "example.shop.math.div"
    );
    assert_eq!(Registry::new("").register(div).unwrap(), "shop.math.div");
    assert_eq!(Registry::new("example").register(fall).unwrap(), "fall");
    assert_eq!(
        Registry::new("example").strict().register(div).unwrap(),
        "example.shop.math.div.00"
    );
}

// RG3
#[test]
fn a_second_method_of_one_name_is_refused_and_the_first_kept() {
    let registry = Registry::new("example");
    registry.register_as("x", div).unwrap();
    let again = registry.register_as("x", fall);
    assert!(matches!(again, Err(RegistryError::Duplicate(name)) if name == "x"));
    assert_eq!(registry.len(), 1);
    assert_eq!(registry.names_of(div), ["x"]);
    assert!(registry.names_of(fall).is_empty());
}

// RG4
#[test]
fn a_locked_registry_refuses_every_change_through_every_clone() {
    let registry = Registry::new("example");
    registry.register(fall).unwrap();
    let clone = registry.clone();
    registry.lock();
    registry.lock();
    for handle in [&registry, &clone] {
        assert!(handle.is_locked());
        let refused = [
            handle.register(div).map(drop),
            handle.register_as("y", div).map(drop),
            handle.register_fn("y", |(): ()| async {}).map(drop),
            handle.register_blocking("y", |(): ()| ()).map(drop),
            handle
                .register_all([MethodDef::of::<crate::backends::Div>()])
                .map(drop),
            handle.alias("y", "fall").map(drop),
            handle.remove("fall"),
        ];
        assert!(
            refused
                .iter()
                .all(|outcome| *outcome == Err(RegistryError::Locked)),
            "{refused:?}"
        );
    }
    assert_eq!(registry.names(), ["fall"]);
}

// RG5
#[test]
fn manual_names_have_to_be_chosen() {
    let registry = Registry::new("example").manual_names();
    assert_eq!(registry.register(div), Err(RegistryError::NameRequired));
    assert_eq!(registry.register(fall).unwrap(), "fall");
    assert_eq!(registry.register_as("div", div).unwrap(), "div");
}

// RG6, RG7
#[test]
fn names_keep_their_order_and_an_alias_goes_alone() {
    let registry = Registry::new("");
    registry.register_as("z", div).unwrap();
    registry.register_as("a", fall).unwrap();
    registry.alias("m", "z").unwrap();
    assert_eq!(registry.names(), ["z", "a", "m"]);
    registry.remove("z").unwrap();
    assert_eq!(registry.names(), ["a", "m"]);
    assert_eq!(registry.names_of(div), ["m"]);
    assert_eq!(
        registry.remove("z"),
        Err(RegistryError::Unknown("z".into()))
    );
    assert_eq!(
        registry.alias("q", "z"),
        Err(RegistryError::Unknown("z".into()))
    );
}

// RG10
#[test]
fn names_that_are_none_are_refused() {
    let registry = Registry::new("");
    let register = |name: &str| registry.register_as(name, div);
    assert_eq!(
        register("sys.x"),
        Err(RegistryError::ReservedName("sys.x".into()))
    );
    for bad in ["", ".a", "a.", "a\n", &"x".repeat(201)] {
        assert!(
            matches!(register(bad), Err(RegistryError::BadName { .. })),
            "{bad:?}"
        );
    }
    assert!(registry.is_empty());
    assert!(register(&"x".repeat(200)).is_ok());
}

#[test]
fn all_or_none_are_registered() {
    let registry = Registry::new("");
    let both = [
        MethodDef::of::<crate::backends::Fall>(),
        MethodDef::of::<crate::backends::Div>().named("fall"),
    ];
    assert!(matches!(
        registry.register_all(both),
        Err(RegistryError::Duplicate(_))
    ));
    assert!(registry.is_empty());
    let both = [
        MethodDef::of::<crate::backends::Fall>(),
        MethodDef::of::<crate::backends::Div>(),
    ];
    assert_eq!(
        registry.register_all(both).unwrap(),
        ["fall", "shop.math.div"]
    );
}

// RG8
#[test]
fn an_unlocked_copy_is_apart_from_its_source() {
    let source = Registry::new("example").strict().manual_names();
    source.register(fall).unwrap();
    source.alias("again", "fall").unwrap();
    source.lock();
    let copy = source.to_unlocked();
    assert_eq!(copy.names(), source.names());
    assert_eq!((copy.project(), copy.is_strict()), ("example", true));
    assert_eq!(copy.register(div), Err(RegistryError::NameRequired));
    copy.register_as("x", div).unwrap();
    copy.remove("again").unwrap();
    assert_eq!(copy.names(), ["fall", "x"]);
    assert_eq!(copy.names_of(fall), ["fall"]);
    assert_eq!(source.names(), ["fall", "again"]);
    assert_eq!(source.names_of(fall), ["fall", "again"]);
    assert!(source.is_locked() && !copy.is_locked());
    // Nor does the copy see what its source gets.
    let open = Registry::new("");
    let copy = open.to_unlocked();
    open.register_as("x", div).unwrap();
    assert!(copy.is_empty());
}

// RG9
#[test]
fn a_method_is_found_by_its_name_and_by_its_function() {
    let registry = Registry::new("example");
    assert_eq!(registry.resolve(fall), None);
    let name = registry.register(fall).unwrap();
    registry.register_as("x", div).unwrap();
    let found = registry.resolve(fall).expect("it is there");
    assert!(found.spec.is_idempotent());
    assert_eq!(registry.resolve(name.as_str()), Some(found));
    assert_eq!(registry.resolve("x"), registry.resolve(div));
    assert_ne!(registry.resolve("x"), registry.resolve("fall"));
    assert_eq!(registry.resolve("fall "), None);
}
