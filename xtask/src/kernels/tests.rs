// SPDX-License-Identifier: GPL-2.0-only
//! Kernel names, versions, the private apt configuration and the cache.

use super::apt::{config, download_percent, find_mirror, sources};
use super::version::{in_series, newest, parse_numbers, parse_package};
use super::*;
use crate::status;

const MATRIX: &str = r#"
[[kernel]]
name = "debian:7.3"
role = "newest"
[[kernel]]
name = "debian:6.12"
role = "without-sched-ext"
[debian]
suites = [["a"], ["b", "c"]]
"#;

#[test]
fn package_names_give_version_and_where_the_image_is() {
    let package = parse_package("linux-binary-7.3.4+deb13-cloud-amd64").unwrap();
    assert_eq!((package.version.as_slice(), package.holds_image), ([7, 3, 4].as_slice(), true));
    assert_eq!(package.release, "7.3.4+deb13-cloud-amd64");
    assert!(!parse_package("linux-image-7.3.4+deb13-cloud-amd64").unwrap().holds_image);
    assert!(!parse_package("linux-image-6.19.6+deb13-cloud-amd64").unwrap().holds_image);
    assert!(parse_package("linux-image-6.18.15+deb13-cloud-amd64").unwrap().holds_image);
    for other in [
        "linux-image-7.3.4+deb13-amd64",
        "linux-image-cloud-amd64",
        "linux-image-7.3.4+deb13-cloud-amd64-unsigned",
        "linux-headers-7.3.4+deb13-cloud-amd64",
        "linux-image-7.3.4+deb13-cloud-arm64",
    ] {
        assert_eq!(parse_package(other), None, "{other}");
    }
}

#[test]
fn the_newest_point_release_is_chosen_by_number() {
    let names = [
        "linux-image-6.18.9+deb13-cloud-amd64",
        "linux-image-6.18.15+deb13-cloud-amd64",
        "linux-image-6.1.200-cloud-amd64",
        "linux-image-7.3.9+deb13-cloud-amd64",
        "linux-binary-7.3.4+deb13-cloud-amd64",
    ];
    let find = |series: &str| newest(names.into_iter(), &parse_numbers(series).unwrap()).map(|p| p.name);
    assert_eq!(find("6.18").as_deref(), Some("linux-image-6.18.15+deb13-cloud-amd64"));
    assert_eq!(find("6.18.9").as_deref(), Some("linux-image-6.18.9+deb13-cloud-amd64"));
    // The shell package of 7.3.9 holds no image.
    assert_eq!(find("7.3").as_deref(), Some("linux-binary-7.3.4+deb13-cloud-amd64"));
    assert_eq!(find("6.1").as_deref(), Some("linux-image-6.1.200-cloud-amd64"));
    assert_eq!(find("9.9"), None);
}

#[test]
fn a_series_matches_whole_numbers() {
    assert!(in_series(&[7, 3, 4], &[7, 3]));
    assert!(!in_series(&[7, 30], &[7, 3]));
    for bad in ["7", "", "7.", "7.x", "7.3-rc1", "-7.3"] {
        assert_eq!(parse_numbers(bad), None, "{bad}");
    }
}

#[test]
fn kernel_arguments_are_understood_or_refused_with_the_known_ones() {
    let matrix = Matrix::parse(MATRIX).unwrap();
    assert_eq!(matrix.source("debian:7.3").unwrap(), Source::Debian(Series(vec![7, 3])));
    assert_eq!(matrix.source("host").unwrap(), Source::Host);
    assert_eq!(matrix.source("/dev/../etc/passwd").unwrap(), Source::Image("/dev/../etc/passwd".into()));
    for bad in ["debian:7", "debian:", "fedora:7.3", "", "/no/such/file"] {
        let error = matrix.source(bad).unwrap_err();
        assert_eq!(status::of(&error), status::USAGE);
        assert!(status::one_line(&error).contains("known: debian:7.3, debian:6.12"), "{error}");
    }
    assert_eq!(matrix.supported(), ["debian:7.3"]);
    assert_eq!(matrix.with_role(Role::WithoutSchedExt), "debian:6.12");
}

#[test]
fn a_matrix_must_name_the_kernels_that_the_commands_default_to() {
    assert!(Matrix::parse(&MATRIX.replace("newest", "floor")).is_err());
    assert!(Matrix::parse(&MATRIX.replace("without-sched-ext", "floor")).is_err());
    assert!(Matrix::parse(&MATRIX.replace("role = \"newest\"", "roll = \"newest\"")).is_err());
}

#[test]
fn a_file_that_is_no_kernel_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), [0; 4096]).unwrap();
    assert_eq!(status::of(&check_image(file.path()).unwrap_err()), status::USAGE);
    let mut image = vec![0; 4096];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    fs::write(file.path(), image).unwrap();
    assert!(check_image(file.path()).is_ok());
}

#[test]
fn the_cache_ignores_half_written_folders() {
    let cache = tempfile::tempdir().unwrap();
    let add = |name: &str, file: Option<&str>| {
        fs::create_dir(cache.path().join(name)).unwrap();
        if let Some(file) = file {
            fs::write(cache.path().join(name).join(file), "").unwrap();
        }
    };
    add("7.3.4+deb13-cloud-amd64", Some("vmlinuz"));
    add("7.3.10+deb13-cloud-amd64", None);
    add(".partial-7.3.11", Some("vmlinuz"));
    add("7.3.3+deb13-cloud-amd64", Some("vmlinuz"));
    let newest = |series: &str| newest_cached(cache.path(), &series.parse().unwrap()).map(|k| k.name);
    assert_eq!(newest("7.3").as_deref(), Some("7.3.4+deb13-cloud-amd64"));
    assert_eq!(newest("7.2"), None);
    assert!(newest_cached(Path::new("/no/such/cache"), &Series(vec![7, 3])).is_none());
}

#[test]
fn the_private_apt_keeps_the_proxy_and_drops_the_hooks() {
    let inherited = "APT::Update::Post-Invoke:: \"rm -f /var/cache/apt/*\";\n\
                     Acquire::http::Proxy \"http://proxy:3128\";\n\
                     Acquire::Languages \"de\";\n\
                     Acquire::http \"\";\n\
                     Acquire::AllowInsecureRepositories \"true\";\n\
                     Dir::Cache \"/var/cache/apt\";\n";
    let text = config(Path::new("/private"), inherited);
    assert!(text.contains("Acquire::http::Proxy \"http://proxy:3128\";"));
    assert!(text.contains("Dir::Cache \"/private/cache\";"));
    for gone in ["Post-Invoke", "\"de\"", "/var/cache", "Repositories \"true\""] {
        assert!(!text.contains(gone), "{gone} is still in:\n{text}");
    }
    assert_eq!(
        sources("file:/mirror/debian", &["a".into(), "b".into()], "/key"),
        "deb [arch=amd64 target=Packages signed-by=/key] file:/mirror/debian a main\n\
         deb [arch=amd64 target=Packages signed-by=/key] file:/mirror/debian b main\n"
    );
}

#[test]
fn the_mirror_is_the_main_archive() {
    let targets = "Other|Other|http://other/\nDebian|Debian-Security|http://security/x/\nDebian|Debian|http://main/debian/\n";
    assert_eq!(find_mirror(targets).as_deref(), Some("http://main/debian"));
    assert_eq!(find_mirror("Ubuntu|Ubuntu|http://u/\n"), None);
}

#[test]
fn download_progress_is_read_from_apt() {
    assert_eq!(download_percent("dlstatus:1:20.5:Retrieving file 1 of 1"), Some(20));
    assert_eq!(download_percent("pmstatus:dpkg:20.5:x"), None);
    assert_eq!(download_percent("dlstatus:1:x:y"), None);
}
