//! The guide shows the code that runs.

const CHAPTER: &str = include_str!("../../../docs/guide/testing-in-the-simulator.md");
const SERVICE: &str = include_str!("../examples/lossy_store/service.rs");

#[test]
fn the_service_of_the_chapter_is_that_of_the_example() {
    let parts: Vec<&str> = SERVICE.split("\n\n").collect();
    assert!(parts.len() > 8, "{parts:?}");
    for part in parts {
        assert!(CHAPTER.contains(part.trim_end()), "not shown:\n{part}");
    }
}
