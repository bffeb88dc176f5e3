//! What serializers are measured with.

use serde::{Deserialize, Serialize};

/// A document is a list of such, of about 1 KiB each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Person {
    id: String,
    index: u32,
    active: bool,
    balance: f64,
    age: u8,
    name: String,
    company: Option<String>,
    address: String,
    about: String,
    latitude: f64,
    longitude: f64,
    tags: Vec<String>,
    friends: Vec<Friend>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Friend {
    id: u32,
    name: String,
}

pub(crate) fn people(count: usize) -> Vec<Person> {
    let person = |index: usize| {
        let at = u32::try_from(index).expect("a few people");
        Person {
            id: format!("{:024x}", 0x5eed_0000 + index),
            index: at,
            active: index.is_multiple_of(2),
            balance: 3_904.5 + f64::from(at) * 1.25,
            age: 32,
            name: "Ada Lighthouse".to_owned(),
            company: None,
            address: "287 Harbour Street, Elwood, South Carolina, 2650".to_owned(),
            about: "A knot that holds under load and always comes undone. ".repeat(8),
            latitude: 54.321_987,
            longitude: 10.134_567 + f64::from(at),
            tags: ["rope", "sail", "mast", "hull", "deck", "helm", "keel"]
                .map(str::to_owned)
                .into(),
            friends: (0..3)
                .map(|id| Friend {
                    id,
                    name: format!("Friend {id}"),
                })
                .collect(),
        }
    };
    (0..count).map(person).collect()
}
