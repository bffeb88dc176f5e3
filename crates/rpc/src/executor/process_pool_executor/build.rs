//! What parent and child have to have in common.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::{Codec, Registry};

/// Bytes of an executable that are read at a time.
const PART: usize = 64 * 1024;

/// This program.
pub(super) fn this_program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() {
        return Ok(running.into());
    }
    std::env::current_exe()
}

/// An executable as it lies on a disk: nobody writes to one that runs, so those of equal names are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName {
    device: u64,
    file: u64,
    length: u64,
    changed: (i64, i64),
}

impl FileName {
    pub(super) fn of(program: &Path) -> io::Result<Self> {
        let it = std::fs::metadata(program)?;
        Ok(Self {
            device: it.dev(),
            file: it.ino(),
            length: it.len(),
            changed: (it.mtime(), it.mtime_nsec()),
        })
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, nanos) = self.changed;
        write!(
            f,
            "{:x}-{:x}-{:x}-{secs:x}-{nanos:x}",
            self.device, self.file, self.length
        )
    }
}

/// What a child says for its build that runs the very file its parent runs: nobody has to read that.
pub(super) const SAME_FILE: [u8; 16] = [0xFF; 16];

/// Names a build: the first 16 bytes of the SHA-256 of its executable. Read once, as long as the file stays.
pub(super) fn build_id(program: &Path) -> io::Result<[u8; 16]> {
    static KNOWN: Mutex<BTreeMap<FileName, [u8; 16]>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let name = FileName::of(program)?;
    if let Some(id) = known().get(&name) {
        return Ok(*id);
    }
    let mut file = File::open(program)?;
    let mut hash = Sha256::new();
    let mut part = vec![0; PART];
    loop {
        match file.read(&mut part) {
            Ok(0) => break,
            Ok(read) => hash.update(&part[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    known().insert(name, id);
    Ok(id)
}

/// Names the methods of a registry, with their schemas, and its formats.
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
    for codec in registry.codecs_of_its_own() {
        hash.add(&[1, codec.id()]);
        if let Codec::Private(own) = codec {
            hash.add(own.name().as_bytes());
        }
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
        type Request = crate::Typed<Self>;
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
    fn an_executable_is_known_by_all_its_bytes() {
        let place = std::env::temp_dir().join(format!("bowline-build-{}", std::process::id()));
        let id = |bytes: &[u8]| {
            std::fs::write(&place, bytes).unwrap();
            // As another file: one that runs is not written to.
            let file = FileName::of(&place).unwrap();
            let id = build_id(&place).unwrap();
            assert_eq!(build_id(&place).unwrap(), id);
            std::fs::remove_file(&place).unwrap();
            (file.to_string(), id)
        };
        let mut program = vec![7; 3 * 1024 * 1024];
        let one = id(&program);
        assert_eq!(id(&program).1, one.1);
        // One byte, far from those that a sample would have.
        program[1_000_000] = 8;
        let other = id(&program);
        assert_ne!(other.1, one.1);
        assert_ne!(one.1, SAME_FILE);
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
