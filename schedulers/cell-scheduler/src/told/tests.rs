// SPDX-License-Identifier: GPL-2.0-only
//! Once each, again when it is back.

use super::*;

fn lines(texts: &[&str]) -> Vec<Line> {
    texts.iter().map(|text| Line::from((*text).to_owned())).collect()
}

#[test]
fn what_lasts_is_told_once_and_what_comes_back_again() {
    let mut told = Told::default();
    assert_eq!(told.news(Topic::Cgroups, lines(&["b", "a", "b"])), ["b", "a"]);
    assert_eq!(told.news(Topic::Cgroups, lines(&["a", "b", "c"])), ["c"]);
    assert!(told.news(Topic::Cgroups, lines(&["b"])).is_empty());
    assert_eq!(told.news(Topic::Cgroups, lines(&["a", "b"])), ["a"]);
}

#[test]
fn topics_do_not_know_of_each_other() {
    let mut told = Told::default();
    assert_eq!(told.news(Topic::Cgroups, lines(&["a"])), ["a"]);
    assert_eq!(told.news(Topic::Wishes, lines(&["a"])), ["a"]);
    assert!(told.news(Topic::Wishes, Vec::new()).is_empty());
    assert!(told.news(Topic::Cgroups, lines(&["a"])).is_empty());
}

#[test]
fn a_figure_that_changes_is_no_news() {
    let mut told = Told::default();
    let crowd = |number: u32| vec![Line::new("crowd", format!("{number} too many"))];
    assert_eq!(told.news(Topic::Wishes, crowd(3)), ["3 too many"]);
    assert!(told.news(Topic::Wishes, crowd(4)).is_empty());
}
