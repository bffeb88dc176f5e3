//! What parameters say, of a URL or set one by one.

use bowline_backend::net::Nodelay;
#[cfg(unix)]
use bowline_backend::stream::UnixAddress;

use super::wrong;
use crate::connector::TcpConnector;
use crate::error::Error;
#[cfg(unix)]
use crate::error::{ErrorKind, Operation};
use crate::params::{KeySpec, ParamError, Params};
use crate::url::{Place, Url, UrlErrorKind};

/// The parameters that a URL sets: its place, then its query.
pub(crate) fn params_of(url: &Url, keys: &'static [KeySpec]) -> Result<Params, Error> {
    let has = |key: &str| keys.iter().any(|spec| spec.name() == key);
    let mut params = Params::new(keys);
    match url.place() {
        Place::Host { name, port } if has("host") && !has("port") => {
            if name.is_empty() || name == "*" {
                return Err(UrlErrorKind::NoHost.anywhere().into());
            }
            if port.is_some() {
                return Err(ParamError::unknown("port", keys).into());
            }
            params.set("host", name)?;
        }
        _ if has("host") => {
            let (host, port) = url.to_dial()?;
            params.set("host", host)?;
            params.set("port", &port.to_string())?;
        }
        Place::Host { name, port } if has("name") => {
            if name.is_empty() || name == "*" {
                return Err(UrlErrorKind::NoHost.anywhere().into());
            }
            if port.is_some() {
                return Err(ParamError::unknown("port", keys).into());
            }
            params.set("name", name)?;
        }
        Place::Host { .. } if has("path") => return Err(UrlErrorKind::NoPath.anywhere().into()),
        Place::Host { name, port: None } if name.is_empty() => {}
        Place::Host { name, .. } => params.set("host", name)?,
        Place::Path(_) | Place::Abstract(_) if has("name") => {
            return Err(UrlErrorKind::NotAHost.anywhere().into());
        }
        Place::Path(path) => params.set("path", path)?,
        Place::Abstract(name) => params.set("abstract", name)?,
    }
    for (key, value) in url.query() {
        params.set(key, value)?;
    }
    Ok(params)
}

/// Whom to reach.
pub(super) fn host_and_port(params: &Params) -> Result<(&str, u16), Error> {
    let (Some(host), Some(port)) = (params.text("host"), params.integer("port")) else {
        return Err(wrong("the keys `host` and `port` are due".to_owned()));
    };
    if host.is_empty() || host == "*" {
        return Err(UrlErrorKind::NoHost.anywhere().into());
    }
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| Error::from(UrlErrorKind::NoPort.anywhere()))?;
    Ok((host, port))
}

pub(super) fn connector(params: &Params) -> Result<TcpConnector, Error> {
    let (host, port) = host_and_port(params)?;
    let mut connector = TcpConnector::new((host, port));
    if params.flag("nodelay") == Some(false) {
        connector = connector.nodelay(Nodelay::Off);
    }
    if let Some(most) = params.duration("connect_timeout") {
        connector = connector.connect_timeout(most);
    }
    Ok(connector.for_messages())
}

#[cfg(unix)]
pub(super) fn unix_address(params: &Params) -> Result<UnixAddress, Error> {
    let address = match (params.text("path"), params.text("abstract")) {
        (Some(path), None) => UnixAddress::from_path(path),
        (None, Some(name)) => UnixAddress::from_abstract(name),
        _ => {
            return Err(wrong(
                "one of the keys `path` and `abstract` is due".to_owned(),
            ));
        }
    };
    address.map_err(|error| Error::new(Operation::Connect, ErrorKind::Config).with_source(error))
}

pub(super) fn memory_name(params: &Params) -> Result<String, Error> {
    let name = params.text("name").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| wrong("the key `name` is due".to_owned()))?;
    Ok(name.to_owned())
}

pub(super) fn max_frame(params: &Params) -> Result<Option<usize>, Error> {
    let Some(most) = params.size("max_frame") else {
        return Ok(None);
    };
    match usize::try_from(most) {
        Ok(most) if most > 0 => Ok(Some(most)),
        _ => Err(wrong(format!(
            "`max_frame` of {most} lets no message through"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> TcpConnector {
        let url: Url = url.parse().unwrap();
        let params = params_of(&url, crate::scheme::Scheme::Tcp.keys()).unwrap();
        connector(&params).unwrap()
    }

    // TR11
    #[test]
    fn nodelay_changes_no_other_option() {
        let off = read("tcp://bowline.test:1?nodelay=no");
        let plain = TcpConnector::new(("bowline.test", 1)).for_messages();
        assert_eq!(
            format!("{:?}", read("tcp://bowline.test:1")),
            format!("{plain:?}")
        );
        assert_eq!(
            format!("{off:?}"),
            format!("{:?}", plain.nodelay(Nodelay::Off))
        );
        assert_ne!(
            format!("{off:?}"),
            format!("{:?}", read("tcp://bowline.test:1"))
        );
    }
}
