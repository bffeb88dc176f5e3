//! Any text is a URL that reads back as itself, or an error inside the text.
#![no_main]

use bowline_transport::Url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match text.parse::<Url>() {
        Ok(url) => {
            let again: Url = url.to_string().parse().expect("it was one");
            assert_eq!(again, url);
        }
        Err(error) => assert!(error.offset().is_some_and(|at| at <= text.len())),
    }
});
