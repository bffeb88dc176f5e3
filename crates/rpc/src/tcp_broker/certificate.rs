//! Whom a certificate names.

use std::fmt::Write;
use std::sync::Arc;

/// The longest principal, in bytes.
const LONGEST: usize = 255;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
const VERSION: u8 = 0xA0;

/// Types of attributes by what RFC 4514 calls them.
const KNOWN: [(&str, &[u8]); 9] = [
    ("CN", &[0x55, 4, 3]),
    ("L", &[0x55, 4, 7]),
    ("ST", &[0x55, 4, 8]),
    ("O", &[0x55, 4, 10]),
    ("OU", &[0x55, 4, 11]),
    ("C", &[0x55, 4, 6]),
    ("STREET", &[0x55, 4, 9]),
    (
        "DC",
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25],
    ),
    (
        "UID",
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1],
    ),
];

/// The principal of whoever has the certificate `der`: `cert:` and its subject. None if it has no subject, or
/// one that is too long or cannot be read.
pub(super) fn principal(der: &[u8]) -> Option<Arc<str>> {
    let subject = subject(der)?;
    let principal = format!("cert:{subject}");
    (!subject.is_empty() && principal.len() <= LONGEST).then(|| principal.into())
}

/// The subject as RFC 4514 writes it.
fn subject(der: &[u8]) -> Option<String> {
    let mut certificate = Der(Der(der).expect(SEQUENCE)?);
    let mut signed = Der(certificate.expect(SEQUENCE)?);
    if signed.0.first() == Some(&VERSION) {
        signed.next()?;
    }
    // Its number, how it is signed, by whom, and for what time.
    for _ in 0..4 {
        signed.next()?;
    }
    let mut names = Der(signed.expect(SEQUENCE)?);
    let mut each = Vec::new();
    while !names.0.is_empty() {
        let mut attributes = Der(names.expect(SET)?);
        let mut name = String::new();
        while !attributes.0.is_empty() {
            let mut attribute = Der(attributes.expect(SEQUENCE)?);
            if !name.is_empty() {
                name.push('+');
            }
            put_attribute(&mut name, &mut attribute)?;
        }
        each.push(name);
    }
    // The most general one comes last.
    each.reverse();
    Some(each.join(","))
}

fn put_attribute(out: &mut String, attribute: &mut Der<'_>) -> Option<()> {
    let object = attribute.expect(OBJECT)?;
    let value = attribute.next()?;
    let text = match value.tag {
        // UTF8String, PrintableString, IA5String
        0x0C | 0x13 | 0x16 => std::str::from_utf8(value.content).ok(),
        _ => None,
    };
    let known = KNOWN.iter().find(|(_, known)| *known == object);
    match (known, text) {
        (Some((name, _)), Some(text)) => {
            out.push_str(name);
            out.push('=');
            put_escaped(out, text);
        }
        (known, _) => {
            match known {
                Some((name, _)) => out.push_str(name),
                None => put_object(out, object)?,
            }
            out.push_str("=#");
            for byte in value.whole {
                let _ = write!(out, "{byte:02x}");
            }
        }
    }
    Some(())
}

fn put_escaped(out: &mut String, text: &str) {
    let last = text.chars().count().saturating_sub(1);
    for (at, symbol) in text.chars().enumerate() {
        match symbol {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', symbol]),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            '#' if at == 0 => out.push_str("\\#"),
            symbol if symbol.is_control() => {
                for byte in symbol.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "\\{byte:02x}");
                }
            }
            symbol => out.push(symbol),
        }
    }
}

/// An object identifier, as numbers with dots between them.
fn put_object(out: &mut String, object: &[u8]) -> Option<()> {
    let (mut number, mut first) = (0_u64, true);
    for byte in object {
        number = number.checked_mul(128)? + u64::from(byte & 0x7F);
        if byte & 0x80 != 0 {
            continue;
        }
        if std::mem::take(&mut first) {
            let root = (number / 40).min(2);
            let _ = write!(out, "{root}.{}", number - 40 * root);
        } else {
            let _ = write!(out, ".{number}");
        }
        number = 0;
    }
    (!first).then_some(())
}

/// Elements behind each other.
struct Der<'a>(&'a [u8]);

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&length, rest) = rest.split_first()?;
        let (length, rest) = match length {
            0..=0x7F => (usize::from(length), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7F))?;
                let length = bytes
                    .iter()
                    .fold(0, |all, byte| all << 8 | u32::from(*byte));
                (length as usize, rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        // Tags of more than one byte are in no subject.
        (tag & 0x1F != 0x1F).then_some(Element {
            tag,
            content,
            whole,
        })
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let element = self.next()?;
        (element.tag == tag).then_some(element.content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    fn certificate(names: impl IntoIterator<Item = (DnType, DnValue)>) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind, value);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.into())
    }

    #[test]
    fn a_principal_is_the_subject_as_the_rfc_writes_it() {
        for (names, principal_of_it) in [
            (vec![(DnType::CommonName, utf8("shop"))], "cert:CN=shop"),
            (
                vec![
                    (
                        DnType::CountryName,
                        DnValue::PrintableString("DE".try_into().unwrap()),
                    ),
                    (DnType::OrganizationName, utf8("Käse, Brot + Wein")),
                    (DnType::CommonName, utf8(" #a\"b\\c<d>;e\u{7} ")),
                ],
                "cert:CN=\\ #a\\\"b\\\\c\\<d\\>\\;e\\07\\ ,O=Käse\\, Brot \\+ Wein,C=DE",
            ),
            (vec![(DnType::CommonName, utf8("#1"))], "cert:CN=\\#1"),
            (
                vec![(DnType::CustomDnType(vec![2, 5, 4, 5]), utf8("7"))],
                "cert:2.5.4.5=#0c0137",
            ),
            (
                vec![(
                    DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99999, 1]),
                    utf8("x"),
                )],
                "cert:1.3.6.1.4.1.99999.1=#0c0178",
            ),
        ] {
            let der = certificate(names);
            assert_eq!(principal(&der).as_deref(), Some(principal_of_it));
        }
        let long = "x".repeat(LONGEST - "cert:CN=".len());
        let named = |name: &str| certificate([(DnType::CommonName, utf8(name))]);
        assert_eq!(principal(&named(&long)).map(|it| it.len()), Some(LONGEST));
        assert_eq!(principal(&named(&(long + "x"))), None);
        assert_eq!(principal(&certificate([])), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_principal() {
        let der = certificate([(DnType::CommonName, utf8("shop"))]);
        for cut in 0..der.len() {
            assert_eq!(principal(&der[..cut]), None, "{cut}");
        }
        for at in 0..der.len() {
            for byte in [0, 0x1F, 0x80, 0x84, 0xFF] {
                let mut other = der.clone();
                other[at] = byte;
                // Whatever it is, it does not panic.
                let _ = principal(&other);
            }
        }
    }
}
