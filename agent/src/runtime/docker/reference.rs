//! Reading image references, as far as pulling needs it. Pure.

/// The registry that a reference names, if it does: `localhost/x`, `reg.example.com/x`, `reg:5000/x`
/// (the rule of Docker's own parser). `None` means Docker Hub, or an image that was built here.
pub(super) fn registry(image: &str) -> Option<&str> {
    let (host, _) = image.split_once('/')?;
    (host == "localhost" || host.contains(['.', ':'])).then_some(host)
}

/// With the default tag: without one Docker would pull every tag of the repository.
pub(super) fn with_tag(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries() {
        for (image, expected) in [
            ("nginx", None),
            ("nginx:1.25", None),
            ("library/nginx", None),
            ("localhost/x", Some("localhost")),
            ("reg:5000/x", Some("reg:5000")),
            ("quay.io/a/b@sha256:00", Some("quay.io")),
        ] {
            assert_eq!(registry(image), expected, "{image}");
        }
    }

    #[test]
    fn tags() {
        for (image, expected) in [
            ("nginx", "nginx:latest"),
            ("nginx:1", "nginx:1"),
            ("reg:5000/x", "reg:5000/x:latest"),
            ("x@sha256:00", "x@sha256:00"),
        ] {
            assert_eq!(with_tag(image), expected);
        }
    }
}
