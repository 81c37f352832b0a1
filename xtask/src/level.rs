//! How near a test is to what users run, derived from what it calls and never typed in.
//!
//! A test is on the *real path* when it, or a function of the same test target that it calls, runs a shipped
//! binary or starts the shipped hub or node, both of which speak over real sockets. Tests inside `src`, of an
//! engine alone or of the simulation, are not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::{self, Visit};

use crate::source;

/// What starts something shipped: a path's last two words.
const STARTS: &[(&str, &str)] =
    &[("Hub", "start"), ("Hub", "start_at"), ("Node", "start"), ("node", "run"), ("hub", "run")];

/// What cargo sets to the path of a shipped binary.
const BINARY: &str = "CARGO_BIN_EXE_";

/// Where deployments under attack are made, and how a test target names it: what it calls there is followed too.
const KIT: (&str, &str) = ("crates/adversary/src", "adversary::");

/// All tests of the workspace by name, and which of them are on the real path.
#[derive(Debug, Default)]
pub(crate) struct Tests {
    pub(crate) all: BTreeSet<String>,
    pub(crate) real: BTreeSet<String>,
}

impl Tests {
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut tests = Self::default();
        let kit = files(&root.join(KIT.0))?;
        for dir in ["crates", "xtask"] {
            let mut targets: BTreeMap<Option<PathBuf>, Target> = BTreeMap::new();
            for (path, text) in files(&root.join(dir))? {
                targets.entry(target(&path)).or_default().add(&path, &text)?;
            }
            for (name, mut target) in targets {
                if name.is_some() && target.uses_kit {
                    kit.iter().try_for_each(|(path, text)| target.add(path, text))?;
                }
                tests.take(&target.functions, name.is_some());
            }
        }
        Ok(tests)
    }

    fn take(&mut self, functions: &[Function], outside: bool) {
        let real = if outside { reaching(functions) } else { BTreeSet::new() };
        for (at, function) in functions.iter().enumerate().filter(|(_, function)| function.is_test) {
            self.all.insert(function.name.clone());
            if real.contains(&at) {
                self.real.insert(function.name.clone());
            }
        }
    }
}

/// Rust files under `dir` with their texts.
fn files(dir: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path, text))
    };
    source::rust_files(dir)?.into_iter().map(read).collect()
}

/// What is compiled into one test.
#[derive(Default)]
struct Target {
    functions: Vec<Function>,
    uses_kit: bool,
}

impl Target {
    fn add(&mut self, path: &Path, text: &str) -> anyhow::Result<()> {
        self.functions.extend(functions(text).with_context(|| format!("cannot parse {}", path.display()))?);
        self.uses_kit |= text.contains(KIT.1);
        Ok(())
    }
}

/// The integration test a file belongs to; `None` for what is compiled into a crate.
fn target(path: &Path) -> Option<PathBuf> {
    let mut so_far = PathBuf::new();
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        so_far.push(part);
        if part.as_os_str() == "src" {
            return None;
        }
        if part.as_os_str() == "tests" {
            return parts.next().map(|name| so_far.join(name).with_extension(""));
        }
    }
    None
}

/// Indices of the functions from which something shipped is started. Calls are followed by name within the
/// target, so a call that is only named alike counts too.
fn reaching(functions: &[Function]) -> BTreeSet<usize> {
    let mut real: BTreeSet<usize> = (0..functions.len()).filter(|at| functions[*at].starts).collect();
    loop {
        let names: BTreeSet<&str> = real.iter().map(|at| functions[*at].name.as_str()).collect();
        let more =
            (0..functions.len()).filter(|at| functions[*at].calls.iter().any(|name| names.contains(name.as_str())));
        let before = real.len();
        real.extend(more.collect::<Vec<_>>());
        if real.len() == before {
            return real;
        }
    }
}

/// One function of a test target.
#[derive(Debug)]
struct Function {
    name: String,
    is_test: bool,
    calls: BTreeSet<String>,
    starts: bool,
}

fn functions(text: &str) -> syn::Result<Vec<Function>> {
    let mut collector = Collector::default();
    collector.visit_file(&syn::parse_file(text)?);
    Ok(collector.0)
}

#[derive(Default)]
struct Collector(Vec<Function>);

impl Collector {
    fn add(&mut self, attributes: &[syn::Attribute], signature: &syn::Signature, body: &syn::Block) {
        let is_test = attributes.iter().any(|one| one.path().segments.last().is_some_and(|last| last.ident == "test"));
        let mut function =
            Function { name: signature.ident.to_string(), is_test, calls: BTreeSet::new(), starts: false };
        function.read(body.to_token_stream());
        self.0.push(function);
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.attrs, &item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.attrs, &item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        // tests in `proptest! { … }` are functions too
        if let Ok(file) = syn::parse2::<syn::File>(item.mac.tokens.clone()) {
            self.visit_file(&file);
        } else {
            self.0.extend(declared(item.mac.tokens.clone()));
        }
    }
}

/// Functions in a macro's tokens that are not plain Rust: `fn name(x in strategy) { body }`.
fn declared(tokens: TokenStream) -> Vec<Function> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    let mut is_test = false;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                is_test |=
                    group.stream().into_iter().any(|one| matches!(&one, TokenTree::Ident(word) if word == "test"));
            }
            TokenTree::Ident(word) if word == "fn" => {
                let Some(TokenTree::Ident(name)) = tokens.get(at + 1) else { continue };
                let mut function = Function { name: name.to_string(), is_test, calls: BTreeSet::new(), starts: false };
                if let Some(TokenTree::Group(body)) = tokens.get(at + 3) {
                    function.read(body.stream());
                }
                found.push(function);
                is_test = false;
            }
            _ => {}
        }
    }
    found
}

impl Function {
    /// Collects what a body calls: a name before parentheses, whatever macro it stands in.
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Literal(literal) => self.starts |= literal.to_string().contains(BINARY),
                TokenTree::Group(group) => {
                    self.read(group.stream());
                    if let (Delimiter::Parenthesis, Some(TokenTree::Ident(name))) =
                        (group.delimiter(), at.checked_sub(1).and_then(|before| tokens.get(before)))
                    {
                        let name = name.to_string();
                        self.starts |= owner(&tokens[..at - 1])
                            .is_some_and(|owner| STARTS.iter().any(|(of, start)| *of == owner && *start == name));
                        self.calls.insert(name);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The word before a path's last `::`.
fn owner(before: &[TokenTree]) -> Option<String> {
    match before {
        [.., TokenTree::Ident(owner), TokenTree::Punct(first), TokenTree::Punct(second)]
            if first.as_char() == ':' && second.as_char() == ':' =>
        {
            Some(owner.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Tests, functions, target};
    use std::path::Path;

    fn read(text: &str, outside: bool) -> Tests {
        let mut tests = Tests::default();
        tests.take(&functions(text).unwrap(), outside);
        tests
    }

    #[test]
    fn h12_a_level_follows_from_what_a_test_starts() {
        let text = "
            impl Bench { async fn up(&self) -> Hub { Hub::start(self.config.clone()).await.unwrap() } }
            fn shipped() -> String { env!(\"CARGO_BIN_EXE_qecnet\").to_owned() }
            fn begun() { shipped(); }
            #[tokio::test] async fn over_sockets() { assert!(bench.up().await.is_ok()); }
            #[test] fn a_binary() { begun(); }
            #[test] fn of_a_model() { let hub = Model::start(); assert_eq!(step(&hub), 3); }
            #[test] fn names_it_only() { let start = Hub::stop; shipped_not(); }
            proptest! { #[test] fn any(x in 0..3u8) { begun(); } #[test] fn none(x in 0..3u8) { x; } }
        ";
        let tests = read(text, true);
        assert_eq!(tests.all.len(), 6);
        assert_eq!(tests.real.iter().map(String::as_str).collect::<Vec<_>>(), ["a_binary", "any", "over_sockets"]);
        assert!(read(text, false).real.is_empty(), "what is compiled into a crate is never the real path");
    }

    #[test]
    fn files_of_one_folder_are_one_target() {
        let of = |path: &str| target(Path::new(path)).map(|path| path.display().to_string());
        assert_eq!(of("crates/hub/tests/hub/console.rs").as_deref(), Some("crates/hub/tests/hub"));
        assert_eq!(of("crates/link/tests/link.rs").as_deref(), Some("crates/link/tests/link"));
        assert_eq!(of("crates/hub/src/sequencer/tests.rs"), None);
    }
}
