//! Files that stand where sockets do: those of the system, or of the simulated host.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bowline::sim::host;
use bowline_backend::Backend;

/// The files a program on `backend` sees. In the simulator to be asked inside a world.
#[derive(Copy, Clone, Debug)]
pub struct Files(pub Backend);

impl Files {
    /// Whether there is something at `path`.
    pub fn exist(self, path: impl AsRef<Path>) -> bool {
        match self.0 {
            Backend::Sim => host::file(path).is_ok(),
            _ => path.as_ref().symlink_metadata().is_ok(),
        }
    }

    /// The permissions of `path`.
    ///
    /// # Errors
    ///
    /// As of the system: nothing is there.
    pub fn mode(self, path: impl AsRef<Path>) -> io::Result<u32> {
        match self.0 {
            Backend::Sim => Ok(host::file(path)?.mode),
            _ => Ok(fs::metadata(path)?.permissions().mode() & 0o777),
        }
    }

    /// Makes an empty file at `path`.
    ///
    /// # Errors
    ///
    /// As of the system.
    pub fn create(self, path: impl AsRef<Path>) -> io::Result<()> {
        match self.0 {
            Backend::Sim => host::create_file(path),
            _ => fs::write(path, ""),
        }
    }

    /// Removes `path`.
    ///
    /// # Errors
    ///
    /// As of the system.
    pub fn remove(self, path: impl AsRef<Path>) -> io::Result<()> {
        match self.0 {
            Backend::Sim => host::remove_file(path),
            _ => fs::remove_file(path),
        }
    }
}
