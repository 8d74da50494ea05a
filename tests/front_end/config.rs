//! OpenLiteSpeed's configuration: `name value` lines, and blocks in braces.

use std::collections::BTreeMap;
use std::fs;
use std::net::ToSocketAddrs;
use std::path::Path;

use cac_lsphp::address::Address;

use crate::site::{ExternalApplication, Site};

/// The virtual hosts, by the names that the listeners map to them.
pub struct Configuration {
    names: BTreeMap<String, String>,
    sites: BTreeMap<String, Site>,
}

impl Configuration {
    /// Reads `httpd_config.conf` and the file of each virtual host. `$SERVER_ROOT` is the directory above
    /// the one that the file is in. Names of external applications are looked up now and never again, as
    /// OpenLiteSpeed does.
    pub fn load(path: &Path) -> Result<Self, String> {
        let server_root =
            path.parent().and_then(Path::parent).ok_or("the configuration is in no directory")?;
        let server = Block::read(path)?;
        let mut names = BTreeMap::new();
        for listener in server.blocks("listener") {
            for map in listener.values("map") {
                let (host, domains) = map.split_once(char::is_whitespace).ok_or("map: host and domains")?;
                names.extend(domains.split(',').map(|name| (name.trim().to_owned(), host.to_owned())));
            }
        }
        let mut sites = BTreeMap::new();
        for host in server.blocks("virtualhost") {
            let root = host.value("vhRoot")?.trim_end_matches('/').to_owned();
            let variables = [
                ("$SERVER_ROOT", server_root.display().to_string()),
                ("$VH_NAME", host.argument.clone()),
                ("$VH_ROOT", root),
            ];
            let expand = |text: &str| {
                variables.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
            };
            let file = Block::read(Path::new(&expand(host.value("configFile")?)))?;
            sites.insert(host.argument.clone(), site(&file, &expand)?);
        }
        Ok(Configuration { names, sites })
    }

    /// The virtual host of a domain.
    pub fn site(&self, domain: &str) -> Option<&Site> {
        self.sites.get(self.names.get(domain)?)
    }
}

fn site(file: &Block, expand: &dyn Fn(&str) -> String) -> Result<Site, String> {
    let handler = file.block("scripthandler")?.value("add")?;
    let name = handler
        .strip_prefix("lsapi:")
        .and_then(|rest| rest.strip_suffix(" php"))
        .ok_or_else(|| format!("script handler {handler:?}: lsapi:NAME php is all that is known"))?;
    let application = file
        .blocks("extprocessor")
        .find(|block| block.argument == name.trim())
        .ok_or_else(|| format!("no external application {name}"))?;
    for (setting, expected) in [("type", "lsapi"), ("autoStart", "0"), ("persistConn", "1")] {
        let value = application.value(setting)?;
        if value != expected {
            return Err(format!("{name}: {setting} is {value}, it must be {expected}"));
        }
    }
    let address = application.value("address")?;
    let resolved = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?.next();
    let max_conns = application.value("maxConns")?;
    Ok(Site {
        document_root: expand(file.value("docRoot")?).trim_end_matches('/').into(),
        index_files: file.block("index")?.value("indexFiles")?.split(',').map(|f| f.trim().into()).collect(),
        php: ExternalApplication::new(
            Address::Inet(resolved.ok_or_else(|| format!("{address}: no address"))?),
            max_conns.parse().map_err(|error| format!("maxConns {max_conns}: {error}"))?,
        ),
    })
}

/// A block, or a whole file. Names are the same in upper and lower case.
#[derive(Default)]
struct Block {
    name: String,
    argument: String,
    values: Vec<(String, String)>,
    blocks: Vec<Block>,
}

impl Block {
    fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut open = vec![Block::default()];
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let wrong = || format!("{}: {line:?}", path.display());
            let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let (name, rest) = (name.to_lowercase(), rest.trim());
            if let Some(argument) = rest.strip_suffix('{') {
                open.push(Block { name, argument: argument.trim().to_owned(), ..Block::default() });
            } else if line == "}" {
                let closed = open.pop().ok_or_else(wrong)?;
                open.last_mut().ok_or_else(wrong)?.blocks.push(closed);
            } else {
                open.last_mut().ok_or_else(wrong)?.values.push((name, rest.to_owned()));
            }
        }
        let file = open.pop().filter(|_| open.is_empty());
        file.ok_or_else(|| format!("{}: a block without its end", path.display()))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let name = name.to_lowercase();
        self.values.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn value(&self, name: &str) -> Result<&str, String> {
        self.values(name).next().ok_or_else(|| format!("{} {}: no {name}", self.name, self.argument))
    }

    fn blocks(&self, name: &str) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(move |block| block.name == name)
    }

    fn block(&self, name: &str) -> Result<&Block, String> {
        self.blocks(name).next().ok_or_else(|| format!("{} {}: no {name}", self.name, self.argument))
    }
}
