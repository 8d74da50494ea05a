use super::*;

fn parse(text: &str, root: Option<&str>, site: Option<&str>) -> Result<Target, TargetError> {
    Target::parse(OsStr::new(text), root.map(OsStr::new), site.map(Path::new))
}

fn variable(target: &Target, name: &str) -> Option<String> {
    let variables = target.variables();
    let (_, value) = variables.iter().find(|(known, _)| known == name.as_bytes())?;
    Some(String::from_utf8_lossy(value).into_owned())
}

#[test]
fn a_script_path_says_its_document_root() {
    for (path, root, name) in [
        (
            "/mnt/users/alice/example.com/public_html/a/b.php",
            "/mnt/users/alice/example.com/public_html",
            "/a/b.php",
        ),
        (
            "/mnt/users/a/_wildcard.x.org/public_html/i.php",
            "/mnt/users/a/_wildcard.x.org/public_html",
            "/i.php",
        ),
        ("/home/alice/public_html/public_html/i.php", "/home/alice/public_html", "/public_html/i.php"),
        ("/home/alice/other/i.php", "/home/alice/other", "/i.php"),
        ("/home/alice/public_html", "/home/alice", "/public_html"),
        ("/srv/i.php", "/srv", "/i.php"),
        ("/i.php", "", "/i.php"),
    ] {
        let target = parse(path, None, None).unwrap();
        assert_eq!(variable(&target, "DOCUMENT_ROOT").as_deref(), Some(root), "{path}");
        assert_eq!(String::from_utf8_lossy(&target.script_name), name);
        assert_eq!(String::from_utf8_lossy(&target.script_filename()), path);
    }
}

#[test]
fn a_script_path_may_have_a_query_and_a_root() {
    let target = parse("/srv/www/a b.php?x=1?2", Some("/srv/"), Some("/home/alice/public_html")).unwrap();
    assert_eq!(target.query, b"x=1?2");
    assert_eq!(variable(&target, "DOCUMENT_ROOT").as_deref(), Some("/srv"));
    assert_eq!(variable(&target, "REQUEST_URI").as_deref(), Some("/www/a%20b.php?x=1?2"));
    assert_eq!(target.script_filename(), b"/srv/www/a b.php");
    assert_eq!(
        parse("/srvx/i.php", Some("/srv"), None),
        Err(TargetError::OutsideRoot("/srv".into())),
        "a name that only starts like the root"
    );
}

#[test]
fn a_uri_is_taken_apart() {
    let target = parse("https://example.com:8443/a%20b/x.php/info/y?q=%20#top", Some("/srv"), None).unwrap();
    assert_eq!(target.script_filename(), b"/srv/a b/x.php");
    assert_eq!(&target.script_name, b"/a b/x.php");
    assert_eq!(target.query, b"q=%20");
    assert_eq!(target.authority(), b"example.com:8443");
    for (name, value) in [
        ("REQUEST_URI", Some("/a%20b/x.php/info/y?q=%20")),
        ("PATH_INFO", Some("/info/y")),
        ("HTTPS", Some("on")),
        ("SERVER_NAME", Some("example.com")),
        ("SERVER_PORT", Some("8443")),
        ("DOCUMENT_ROOT", Some("/srv")),
        ("SCRIPT_NAME", None),
    ] {
        assert_eq!(variable(&target, name).as_deref(), value, "{name}");
    }
}

#[test]
fn a_uri_without_more_is_the_index_of_the_site() {
    for (uri, request_uri) in
        [("http://h", "/"), ("http://h/", "/"), ("http://h?a=1", "/?a=1"), ("http://h/?a=1", "/?a=1")]
    {
        let target = parse(uri, None, Some("/home/alice/public_html")).unwrap();
        assert_eq!(target.script_filename(), b"/home/alice/public_html/index.php", "{uri}");
        assert_eq!(variable(&target, "REQUEST_URI").as_deref(), Some(request_uri));
        assert_eq!(variable(&target, "SERVER_PORT").as_deref(), Some("80"));
        assert_eq!(variable(&target, "HTTPS"), None);
    }
    let target = parse("http://[::1]:81/", None, Some("/home/alice/public_html")).unwrap();
    assert_eq!(variable(&target, "SERVER_NAME").as_deref(), Some("[::1]"));
    let target = parse("http://[::1]/", None, Some("/home/alice/public_html")).unwrap();
    assert_eq!(variable(&target, "SERVER_NAME").as_deref(), Some("[::1]"));
}

#[test]
fn escapes_that_are_none_stay() {
    assert_eq!(percent_decode(b"%41%zz%4%"), b"A%zz%4%");
    assert_eq!(percent_decode(&percent_encode(b"/\xff %41")), b"/\xff %41");
}

#[test]
fn what_is_no_target_is_refused() {
    assert!(matches!(parse("index.php", Some("/srv"), None), Err(TargetError::NeitherPathNorUri(_))));
    assert!(matches!(parse("ftp://h/i.php", Some("/srv"), None), Err(TargetError::NeitherPathNorUri(_))));
    assert!(matches!(parse("", Some("/srv"), None), Err(TargetError::NeitherPathNorUri(_))));
    assert!(matches!(parse("http:///i.php", Some("/srv"), None), Err(TargetError::NoHost(_))));
    assert_eq!(parse("http://h/i.php", None, None), Err(TargetError::NoRoot));
}
