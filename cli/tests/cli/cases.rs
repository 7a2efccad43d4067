//! Help, usage errors and the like, as data: `cli/tests/cmd/*.toml`. `TRYCMD=overwrite` rewrites the expected output.

#[test]
fn cases_without_a_vault() {
    let home = tempfile::tempdir().unwrap();
    trycmd::TestCases::new()
        .env("HOME", home.path().display().to_string())
        .env("XDG_RUNTIME_DIR", home.path().display().to_string())
        .case("tests/cmd/*.toml");
}
