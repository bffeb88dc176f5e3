//! The smallest program: enters the default backend and asks it for the time.
//!
//! It needs one backend feature. With none it does not build, and says which there are;
//! `cargo xtask features` holds it to that.

use bowline_backend::{Backend, time};

fn main() {
    let backend = Backend::default();
    let now = backend.block_on(async { time::now() });
    println!("{backend}: {now:?}");
}
