// SPDX-License-Identifier: GPL-2.0-only
//! Configurations, good and bad, and patterns.

use proptest::prelude::*;

use super::*;

fn glob(text: &str) -> Glob {
    Glob::new(text).unwrap()
}

#[test]
fn a_full_configuration() {
    let text = r#"
        [[cell]]
        name = "web"
        cgroups = ["web-*", "/shop/front/"]
        min_cpus = 2
        max_cpus = 8
        weight = 300
        lend = false
        borrow = false
        llc = "spread"

        [[cell]]
        name = "shop"
        cgroups = ["shop"]
    "#;
    let config = Config::parse("cells.toml", text).unwrap();
    let [web, shop] = &config.cells[..] else { panic!("{config:?}") };
    assert_eq!(
        (web.min_cpus, web.max_cpus, web.weight, web.lend, web.borrow),
        (2, Some(8), Some(300), false, false)
    );
    assert_eq!(web.llc, LlcPolicy::Spread);
    assert_eq!(
        (shop.min_cpus, shop.max_cpus, shop.weight, shop.lend, shop.borrow),
        (0, None, None, true, true)
    );
    assert_eq!(shop.llc, LlcPolicy::Pack);
    // The nearest match counts.
    assert_eq!(config.cell_of("shop"), Some(1));
    assert_eq!(config.cell_of("shop/back/deep"), Some(1));
    assert_eq!(config.cell_of("shop/front/deep"), Some(0));
    assert_eq!(config.cell_of("web-1/inner"), Some(0));
    assert_eq!(config.cell_of("other/shop"), None);
    assert_eq!(Config::parse("empty", "").unwrap(), Config::default());
}

#[test]
fn errors_name_file_line_and_key() {
    let wrong = |text: &str| {
        let error = Config::parse("cells.toml", text).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let head = "[[cell]]\nname = \"a\"\ncgroups = [\"a\"]\n";
    let starts = |text: &str, start: &str| {
        let error = wrong(text);
        assert!(error.starts_with(start), "{error}");
    };
    starts(&format!("{head}mim_cpus = 3\n"), "cells.toml:4: mim_cpus: unknown field");
    starts(&format!("{head}min_cpus = \"3\"\n"), "cells.toml:4: min_cpus: invalid type");
    starts(&format!("{head}min_cpus = -1\n"), "cells.toml:4: min_cpus: ");
    starts(&format!("{head}min_cpus = 4\nmax_cpus = 3\n"), "cells.toml:5: max_cpus: 3 is below min_cpus, 4");
    starts(&format!("{head}max_cpus = 0\n"), "cells.toml:4: max_cpus: 0 is below 1");
    starts(&format!("{head}weight = 0\n"), "cells.toml:4: weight: 0 is not between 1 and 10000");
    starts(&format!("{head}llc = \"wide\"\n"), "cells.toml:4: llc: unknown variant");
    starts(&format!("{head}\n{head}"), "cells.toml:6: name: two cells are called \"a\"");
    starts("[[cell]]\nname = \"a\"\ncgroups = []\n", "cells.toml:3: cgroups: cell \"a\" has none");
    starts("[[cell]]\nname = \" \"\ncgroups = [\"b\"]\n", "cells.toml:2: name: is empty");
    starts(
        "[[cell]]\nname = \"a\"\ncgroups = [\"b[\"]\n",
        "cells.toml:3: cgroups: pattern \"b[\": character 2 ",
    );
    starts("[[cell]]\ncgroups = [\"b\"]\n", "cells.toml:1: [[cell]]: missing field `name`");
    starts("[[cell]\n", "cells.toml:1: ");
    starts("cells = 1\n", "cells.toml:1: cells: unknown field");
    let missing = Config::load(Path::new("no/such/file.toml")).unwrap_err().to_string();
    assert!(missing.starts_with("no/such/file.toml: "), "{missing}");
}

#[test]
fn overlapping_cells_are_named_with_an_example() {
    let text = "[[cell]]\nname = \"a\"\ncgroups = [\"x\", \"web-*\"]\n[[cell]]\nname = \"b\"\ncgroups = [\"y\",\n\"*-db\"]\n";
    let error = Config::parse("f", text).unwrap_err().to_string();
    assert!(
        error.starts_with("f:7: cgroups: ") && error.contains("cell \"a\"") && error.contains("cell \"b\""),
        "{error}"
    );
    assert!(error.contains("\"web-db\""), "{error}");
    // Within a cell patterns may overlap; one below another is no overlap.
    let fine =
        "[[cell]]\nname = \"a\"\ncgroups = [\"x*\", \"*y\"]\n[[cell]]\nname = \"b\"\ncgroups = [\"x/*\"]\n";
    assert_eq!(Config::parse("f", fine).unwrap().cells.len(), 2);
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cells.toml");
    let text = "[[cell]]\nname = \"a\"\ncgroups = [\"a\"]\n";
    std::fs::write(&file, text).unwrap();
    let mut config = Config::load(&file).unwrap();
    assert!(!config.reload(&file).unwrap());
    let running = config.clone();
    std::fs::write(&file, "[[cell]]\nname = 3\n").unwrap();
    assert!(config.reload(&file).is_err());
    assert_eq!(config, running);
    std::fs::write(&file, format!("{text}weight = 7\n")).unwrap();
    assert!(config.reload(&file).unwrap());
    assert_eq!(config.cells[0].weight, Some(7));
}

#[test]
fn patterns_match_as_documented() {
    let table = [
        ("web", "web", true),
        ("web", "web/inner", false),
        ("web-*", "web-", true),
        ("*", "a/b", false),
        ("*/b", "a/b", true),
        ("a/**", "a/b/c", true),
        ("**.service", "system.slice/x.service", true),
        ("?.slice", "u.slice", true),
        ("a?b", "a/b", false),
        ("[a-c]x", "bx", true),
        ("[!a-c]x", "bx", false),
        ("[!a]b", "/b", false),
        ("[]]", "]", true),
        ("[a-]", "-", true),
        ("a\\*", "a*", true),
        ("a\\*", "ab", false),
        ("/a/", "a", true),
    ];
    for (pattern, path, matches) in table {
        assert_eq!(glob(pattern).matches(path), matches, "{pattern} and {path}");
    }
    for bad in ["", "/", "a[b", "a[", "x\\", "[b-a]"] {
        let error = Glob::new(bad).unwrap_err().to_string();
        assert!(error.contains("character") && error.lines().count() == 1, "{error}");
    }
}

fn pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[abc]", 1 => Just("*".to_owned()), 1 => Just("**".to_owned()), 1 => Just("?".to_owned()),
        1 => Just("/".to_owned()), 1 => Just("[ab]".to_owned()), 1 => Just("[!ab]".to_owned()),
    ];
    proptest::collection::vec(part, 1..6)
        .prop_map(|parts| parts.concat())
        .prop_filter("nothing but slashes", |text| !text.trim_matches('/').is_empty())
}

proptest! {
    #[test]
    fn an_overlap_has_a_path_that_both_match(a in pattern(), b in pattern(), path in "[abc/]{0,5}") {
        let (a, b) = (glob(&a), glob(&b));
        let path = path.trim_matches('/');
        match a.overlap(&b) {
            Some(example) => {
                // Slashes at the ends of a path do not count, so an example that has them is none to be tried.
                if example == example.trim_matches('/') {
                    prop_assert!(a.matches(&example) && b.matches(&example), "{a} and {b}: {example}");
                }
            }
            None => prop_assert!(!(a.matches(path) && b.matches(path)), "{a} and {b} both match {path}"),
        }
        prop_assert_eq!(a.overlap(&b).is_some(), b.overlap(&a).is_some());
    }

    #[test]
    fn any_text_is_a_configuration_or_one_line(text in "(\\[\\[cell\\]\\]\n|name = \"[ab]\"\n|cgroups = \\[\"[ab*]\"\\]\n|[a-z_]{1,8} = [0-9\"-]{1,3}\n|.{0,5}){0,8}") {
        if let Err(error) = Config::parse("f", &text) {
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
