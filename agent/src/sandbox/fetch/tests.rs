//! Artifacts of every kind, from files and from a server of our own.

use std::io::{Read, Write};

use super::*;

fn artifact(uri: &str) -> Artifact {
    Artifact { uri: uri.to_owned(), extract: true, executable: false, cache: false, dest_path: None }
}

fn at(uri: &str, path: &str) -> Artifact {
    Artifact { dest_path: Some(path.to_owned()), ..artifact(uri) }
}

#[test]
fn sources() {
    assert_eq!(source("http://h/x"), Ok(Source::Http("http://h/x")));
    assert_eq!(source("file:///a/b"), Ok(Source::File("/a/b")));
    assert_eq!(source("/a/b"), Ok(Source::File("/a/b")));
    for wrong in ["https://h/x", "hdfs://h/x", "a/b", "file://host/x", ""] {
        assert!(source(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn destinations() {
    let of = |artifact: &Artifact| destination(artifact).ok().map(|path| path.display().to_string());
    assert_eq!(of(&artifact("http://h/a/b.tar?x=/y")).as_deref(), Some("b.tar"));
    assert_eq!(of(&artifact("/srv/b")).as_deref(), Some("b"));
    assert_eq!(of(&at("/srv/b", "./conf/c")).as_deref(), Some("conf/c"));
    for wrong in ["http://h", "http://h/", "/srv/.."] {
        assert_eq!(of(&artifact(wrong)), None, "{wrong}");
    }
    for wrong in ["../x", "/x", "a/../../x", "."] {
        assert_eq!(of(&at("/srv/b", wrong)), None, "{wrong}");
    }
}

fn tar(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        // By hand: the builder itself would refuse a path that climbs.
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        if let Some(link) = content.strip_prefix("-> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name(link).unwrap();
            header.set_size(0);
            header.set_cksum();
            tar.append(&header, std::io::empty()).unwrap();
        } else {
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.append(&header, content.as_bytes()).unwrap();
        }
    }
    tar.into_inner().unwrap()
}

struct Place {
    source: tempfile::TempDir,
    sandbox: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { source: tempfile::tempdir().unwrap(), sandbox: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.source.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    async fn fetch(&self, artifacts: &[Artifact]) -> Result<(), String> {
        fetch(self.sandbox.path(), artifacts, None).await.map_err(|error| error.to_string())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox.path().join(name)).unwrap()
    }
}

#[tokio::test]
async fn files_archives_and_programs() {
    let place = Place::new();
    let tarball = tar(&[("d/one", "1"), ("two", "2")]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar(&[("three", "3")])).unwrap();
    let program = Artifact { executable: true, ..artifact(&place.file("run.tar", b"#!/bin/sh\n")) };
    let artifacts = [
        artifact(&format!("file://{}", place.file("a.tar", &tarball))),
        artifact(&place.file("b.tgz", &gz.finish().unwrap())),
        at(&place.file("plain", b"p"), "conf/p.txt"),
        program,
        Artifact { extract: false, ..artifact(&place.file("kept.zip", b"z")) },
    ];
    place.fetch(&artifacts).await.unwrap();
    assert_eq!([place.read("d/one"), place.read("two"), place.read("three")], ["1", "2", "3"]);
    assert_eq!((place.read("conf/p.txt").as_str(), place.read("kept.zip").as_str()), ("p", "z"));
    let mode = fs::metadata(place.sandbox.path().join("run.tar")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[tokio::test]
async fn nothing_leaves_the_sandbox() {
    let place = Place::new();
    let outside = tempfile::tempdir().unwrap();
    let link = format!("-> {}", outside.path().display());
    for (name, entries) in [
        ("climb.tar", vec![("../climbed", "x")]),
        ("absolute.tar", vec![("/tmp/gantry-absolute", "x")]),
        ("link.tar", vec![("way", link.as_str()), ("way/x", "x")]),
    ] {
        let error = place.fetch(&[artifact(&place.file(name, &tar(&entries)))]).await.unwrap_err();
        assert!(error.contains(name), "{error}");
    }
    let prepared = artifact(&place.file("prepare.tar", &tar(&[("out", link.as_str())])));
    let through = at(&place.file("x", b"x"), "out/x");
    assert!(place.fetch(&[prepared, through]).await.unwrap_err().contains("out of the sandbox"));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!place.sandbox.path().join("../climbed").exists());
}

#[tokio::test]
async fn what_cannot_be_fetched_says_why() {
    let place = Place::new();
    for (artifact, reason) in [
        (artifact("/no/such/file"), "No such file"),
        (artifact("https://h/x"), "https is not supported"),
        (artifact(&place.file("x.zip", b"PK")), ".zip archives are not supported"),
        (artifact(&place.file("broken.tar", b"not a tar at all")), "unpacking"),
        (artifact("http://127.0.0.1:1/x"), "onnect"),
    ] {
        let error = place.fetch(&[artifact]).await.unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

/// Answers each connection with the next of these.
fn server(answers: Vec<String>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _any = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn over_http_with_redirections() {
    let place = Place::new();
    let answer = |head: &str, body: &str| {
        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    let server = server(vec![
        answer("302 Found\r\nLocation: /real", ""),
        answer("200 OK", "body"),
        answer("404 Not Found", "no"),
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\ncut short".to_owned(),
    ]);
    place.fetch(&[artifact(&format!("{server}/file.txt"))]).await.unwrap();
    assert_eq!(place.read("file.txt"), "body");
    assert!(place.fetch(&[artifact(&format!("{server}/x"))]).await.unwrap_err().contains("404"));
    place.fetch(&[artifact(&format!("{server}/x"))]).await.unwrap_err();
    let names: Vec<_> =
        fs::read_dir(place.sandbox.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file.txt"], "nothing half fetched stays");
}
