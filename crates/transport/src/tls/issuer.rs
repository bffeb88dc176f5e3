//! Who issued a certificate, for whoever reads of one that is not accepted.

/// Most characters of a name that are shown: it is a stranger's.
const MOST_SHOWN: usize = 64;

/// The types of attributes that name somebody, the best first (X.520): common name, organization and its
/// unit.
const NAMING: [&[u8]; 3] = [&[0x55, 4, 3], &[0x55, 4, 10], &[0x55, 4, 11]];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 6;
/// The version of a certificate, which the first one does not say.
const VERSION: u8 = 0xa0;
/// Of UTF-8, and the three that are ASCII where anybody keeps to them.
const TEXTS: [u8; 4] = [12, 19, 20, 22];

/// The name of the issuer of a certificate in DER (RFC 5280), as it may be shown; `None` where it has no
/// name that can be read.
pub(super) fn issuer_of(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (said, _) = element(certificate, SEQUENCE)?;
    let after_version = match element(said, VERSION) {
        Some((_, rest)) => rest,
        None => said,
    };
    let (_, _serial, rest) = any_element(after_version)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (issuer, _) = element(rest, SEQUENCE)?;
    let named = NAMING.iter().find_map(|naming| attribute(issuer, naming))?;
    let shown: String = named.chars().take(MOST_SHOWN).collect();
    Some(shown.escape_debug().to_string())
}

/// The value of the first attribute of this type in a name.
fn attribute(mut name: &[u8], of: &[u8]) -> Option<String> {
    while let Some((mut set, rest)) = element(name, SET) {
        name = rest;
        while let Some((attribute, rest)) = element(set, SEQUENCE) {
            set = rest;
            let (kind, value) = element(attribute, OBJECT_IDENTIFIER)?;
            if kind == of {
                let (tag, text, _) = any_element(value)?;
                return TEXTS
                    .contains(&tag)
                    .then(|| String::from_utf8_lossy(text).into_owned());
            }
        }
    }
    None
}

/// The content of the element of this kind that comes first, and what follows it.
fn element(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = any_element(bytes)?;
    (tag == kind).then_some((content, rest))
}

fn any_element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // A certificate is no longer than a message of TLS can be.
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            let digit = |sum: usize, digit: &u8| sum << 8 | usize::from(*digit);
            (digits.iter().fold(0, digit), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, Issuer, KeyPair};

    use super::*;

    /// A certificate for `there`, of an issuer with this name.
    fn issued(by: &[(DnType, &str)]) -> Vec<u8> {
        let (key, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name = DistinguishedName::new();
        for (kind, text) in by {
            issuer.distinguished_name.push(kind.clone(), *text);
        }
        let params = CertificateParams::new(["there".to_owned()]).unwrap();
        let made = params.signed_by(&key, &Issuer::new(issuer, &theirs));
        made.unwrap().der().to_vec()
    }

    // T2
    #[test]
    fn an_issuer_is_known_by_the_best_of_its_names() {
        let (organization, name) = (DnType::OrganizationName, DnType::CommonName);
        let both = issued(&[
            (organization.clone(), "Portals"),
            (name.clone(), "A \"Gate\"\n"),
        ]);
        assert_eq!(issuer_of(&both).as_deref(), Some("A \\\"Gate\\\"\\n"));
        let one = issued(&[(DnType::CountryName, "XX"), (organization, "Portals")]);
        assert_eq!(issuer_of(&one).as_deref(), Some("Portals"));
        assert_eq!(issuer_of(&issued(&[(DnType::CountryName, "XX")])), None);
        assert_eq!(issuer_of(&issued(&[])), None);
        let long = "x".repeat(300);
        let shown = issuer_of(&issued(&[(name, &long)])).unwrap();
        assert_eq!(shown, long[..MOST_SHOWN]);
    }

    // T2, TR12
    #[test]
    fn what_is_no_certificate_has_no_issuer() {
        let whole = issued(&[(DnType::CommonName, "Gate")]);
        for end in 0..whole.len() {
            let cut = issuer_of(&whole[..end]);
            assert_eq!(cut, None);
        }
        // Whatever is changed, it is read or not.
        for at in 0..whole.len() {
            for with in [0, 1, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = whole.clone();
                changed[at] = with;
                let _ = issuer_of(&changed);
            }
        }
    }
}
