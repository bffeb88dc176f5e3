//! What parent and child have to have in common.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::Registry;

/// Parts of an executable that are read to know it, and bytes of each.
const PARTS: u64 = 256;
const PART: usize = 4096;

/// This program.
pub(super) fn this_program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() {
        return Ok(running.into());
    }
    std::env::current_exe()
}

/// Names a build: the FNV-1a hash, 128 bits, of the length of its executable and of up to 1 MiB,
/// evenly over it.
pub(super) fn build_id(program: &Path) -> io::Result<[u8; 16]> {
    let mut file = File::open(program)?;
    let length = file.metadata()?.len();
    let mut hash = Fnv::new();
    hash.add(&length.to_be_bytes());
    let mut part = [0; PART];
    for number in 0..PARTS {
        let at = length / PARTS * number;
        file.seek(SeekFrom::Start(at))?;
        let read = file.read(&mut part)?;
        hash.add(&part[..read]);
    }
    // What was appended to it.
    file.seek(SeekFrom::Start(length.saturating_sub(PART as u64)))?;
    let read = file.read(&mut part)?;
    hash.add(&part[..read]);
    Ok(hash.0.to_be_bytes())
}

/// Names the methods of a registry, with their schemas.
pub(super) fn methods_id(registry: &Registry) -> [u8; 16] {
    let mut hash = Fnv::new();
    for method in registry.all() {
        if method.name.starts_with("sys.") {
            continue;
        }
        hash.add(method.name.as_bytes());
        hash.add(&[0]);
        hash.add(&method.entry.spec.schema_hash().to_be_bytes());
    }
    hash.0.to_be_bytes()
}

struct Fnv(u128);

impl Fnv {
    fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte))
                .wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Call, Context, DeclaredName, MethodDef, MethodSpec, NoError};

    struct Of<const SCHEMA: u64>;

    impl<const SCHEMA: u64> Call for Of<SCHEMA> {
        type Args = ();
        type Reply = ();
        type Error = NoError;
        const NAME: DeclaredName = DeclaredName::explicit("f");
        const SPEC: MethodSpec = MethodSpec::new().schema(SCHEMA);

        fn into_args(self) {}

        fn from_args((): ()) -> Self {
            Of
        }

        async fn run(self, _: Context) -> Result<(), NoError> {
            Ok(())
        }
    }

    // EX15
    #[test]
    fn methods_of_other_schemas_are_others() {
        let id = |methods: Vec<MethodDef>| {
            let registry = Registry::new("example");
            registry.register_all(methods).unwrap();
            methods_id(&registry)
        };
        let one = id(vec![MethodDef::of::<Of<1>>()]);
        assert_eq!(id(vec![MethodDef::of::<Of<1>>()]), one);
        assert_ne!(id(vec![MethodDef::of::<Of<2>>()]), one);
        assert_ne!(id(Vec::new()), one);
    }
}
