import asyncio
import base64
import hashlib
import html
import itertools
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.content import Digest
from modfile.manifest import ARTIFACT_MANIFEST, MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST
from modfile.serve.access import Access
from modfile.serve.htpasswd import Htpasswd
from modfile.serve.pages.kept import Kept
from modfile.serve.pages.readme import MAX_README, safe_url, to_html
from modfile.serve.pages.text import natural, readable, size_text, visible
from modfile.strictjson import dump
from tests.models import small_model

from .shop import EVIL, MODEL_CONFIG, Page, Shop, get

SHOWN_EVIL = visible(EVIL)


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


def config(created=None, **more):
    return {"descriptor": {"createdAt": created, **more} if created else more, "config": {}}


def names(page):
    """Return the repositories that a list shows, in its order."""
    return [link.removeprefix("/artifacts/") for link in page.links if link.startswith("/artifacts/")]


# The list


def test_the_list_shows_the_newest_tag_and_what_it_is(shop, tmp_path):
    model = small_model(tmp_path / "tiny")
    shop.build(model, "llm/tiny:v1", at=datetime(2026, 1, 2, tzinfo=UTC))
    built = shop.build(model, "llm/tiny:v2", "llm/tiny:latest", at=datetime(2026, 3, 4, tzinfo=UTC))
    page = shop.page("/")
    page.check()
    assert "1 repository" in page.text
    row = page.text.partition("Created llm/tiny ")[2]
    assert row.startswith("v2 + 2 tags")
    assert "format safetensors parameters 12 family bert precision float32" in row
    summed = [time["title"] for time in page.all("time")]
    assert summed == ["2026-03-04 00:00 UTC"]
    assert "5 files" in row
    assert built.size > 0


def test_repositories_stand_newest_first_and_those_without_a_date_last(shop):
    shop.add("a:v1", config=config("2026-01-01T00:00:00Z"))
    shop.add("b:v1")
    shop.add("c:v1", config=config("2026-01-01T00:00:00.5Z"))
    shop.add("d:v1", config=config("2025-12-31T23:59:59Z"))
    shop.add("e:v1", annotations={"org.opencontainers.image.created": "2026-01-01T09:00:00+02:00"})
    assert names(shop.page("/")) == ["e", "c", "a", "d", "b"]


def test_of_tags_of_the_same_time_a_later_version_is_the_newest(shop):
    for tag in ("v9", "latest", "v10", "sha256-" + "0" * 64 + ".sig"):
        shop.add(f"a:{tag}")
    page = shop.page("/")
    assert "a v10 + 2 tags" in page.text
    assert shop.page("/artifacts/a").text.startswith("a:v10")


def test_a_store_without_artifacts_says_how_they_come_there(shop):
    page = shop.page("/")
    page.check()
    assert "Nothing here yet" in page.text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("llama", ["llama"]),
        ("LLAMA", ["llama"]),
        ("gguf+7b", ["llama"]),
        ("gguf+safetensors", []),
        ("7b", ["llama", "qwen"]),
        ("v3", ["qwen"]),
        ("instruct", ["qwen"]),
        ("", ["llama", "qwen"]),
        ("+", ["llama", "qwen"]),
        ("%22%3E%3Cscript%3Ealert(1)%3C/script%3E", []),
        ("x" * 5000, []),
        ("%00%ff", []),
    ],
)
def test_the_list_is_filtered_by_words_without_a_script(shop, query, found):
    llama = {"descriptor": {"createdAt": "2026-02-01T00:00:00Z"}, "config": {"format": "gguf", "paramSize": "7B"}}
    qwen = {
        "descriptor": {"createdAt": "2026-01-01T00:00:00Z", "title": "Qwen Instruct"},
        "config": {"format": "safetensors", "paramSize": "0.7B"},
    }
    shop.add("llama:v1", config=llama)
    shop.add("qwen:v3", config=qwen)
    page = shop.page(f"/?q={query}")
    page.check()
    assert names(page) == found
    assert page.all("script") == []
    assert page.all("form") == [{"class": "filter", "role": "search", "action": "/", "method": "get"}]


def test_a_query_is_there_to_be_changed(shop):
    page = shop.page("/?q=%22%3E%3Cb%3E")
    (field,) = page.all("input")
    assert field["value"] == '"><b>'


def test_many_repositories_are_shown_in_pages_that_keep_the_query(shop):
    with shop.layout.writing():
        for number in range(120):
            shop.add(f"m{number:03}:v1", config=config(f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"))
    first, last = shop.page("/"), shop.page("/?q=m&page=3")
    assert names(first)[::49] == ["m119", "m070"]
    assert [link for link in first.links if "page=" in link] == ["/?page=2"]
    assert names(last) == [f"m{number:03}" for number in range(19, -1, -1)]
    assert [link for link in last.links if "page=" in link] == ["/?q=m&page=2"]
    assert "101–120 of 120" in last.text


@pytest.mark.parametrize(("number", "begins"), [("0", 0), ("-1", 0), ("x", 0), ("9999999", 50), ("1e9", 0), ("²", 0)])
def test_a_page_that_is_not_there_is_the_nearest(shop, number, begins):
    for one in range(60):
        shop.add(f"m{one:02}:v1")
    assert len(names(shop.page(f"/?page={number}"))) == (10 if begins else 50)


def test_artifacts_of_other_hosts_are_not_shown(shop):
    shop.add("ghcr.io/other/model:v1")
    shop.add("localhost/own/model:v1")
    assert names(shop.page("/")) == ["own/model"]
    shop.page("/artifacts/other/model", 404)
    shop.page("/artifacts/ghcr.io/other/model:v1", 404)


# An artifact


def test_an_artifact_is_shown_with_its_metadata_files_readme_and_commands(shop, tmp_path):
    model = small_model(tmp_path / "tiny")
    (model / "README.md").write_text("---\nbase_model: org/base\n---\n# Tiny\n\nA *small* one: <https://example.com>\n")
    with (model / "Modelfile").open("a") as file:
        file.write("SOURCEURL https://example.com/tiny\nREVISION abc123\nAUTHOR Ada\nAUTHOR Grace\nQUANTIZATION none\n")
    built = shop.build(model, "llm/tiny:v1", "llm/tiny:latest")
    page = shop.page("/artifacts/llm/tiny:v1")
    page.check()
    for text in (
        "llm/tiny v1",
        f"Digest {built.digest}",
        "The same as latest",
        "Family bert Architecture transformer Parameters 12 Format safetensors Precision float32 Quantization none",
        "Licence apache-2.0 Base model org/base Authors Ada Grace",
        "Source https://example.com/tiny Revision abc123",
        "Languages en Created 2026-05-01 12:30 UTC",
        f"config.json config {(model / 'config.json').stat().st_size} B model.safetensors model",
        "README Tiny A small one: https://example.com",
        "modfile pull 127.0.0.1:5000/llm/tiny:v1",
        'modfile.pull("127.0.0.1:5000/llm/tiny:v1")',
        "docker://127.0.0.1:5000/llm/tiny:v1 oci:tiny:v1",
        "# A small model NAME tiny",
    ):
        assert text in page.text
    assert {"https://example.com/tiny", "https://example.com"} <= set(page.links)
    assert [tag for tag, _ in page.elements if tag in ("em", "h3")] == ["h3", "h3", "h3", "h3", "em"]
    assert shop.page(f"/artifacts/llm/tiny@{built.digest}").text.count(f"llm/tiny@{built.digest}") == 4


def test_a_file_can_be_saved_under_its_name(shop, tmp_path):
    shop.build(small_model(tmp_path / "tiny"), "llm/tiny:v1")
    saved = {link["download"]: link["href"] for link in shop.page("/artifacts/llm/tiny").all("a") if "download" in link}
    assert set(saved) == {"config.json", "model.safetensors", "run.py", "train.csv", "README.md"}
    assert get(shop.app(), saved["run.py"]).text == "print('hello')\n"


def test_a_bar_is_as_wide_as_its_file_is_large(shop):
    shop.add("a:v1", shop.file("big", 1000), shop.file("half", 500), shop.file("small", 1), shop.file("none", 0))
    widths = [float(bar["width"]) for bar in shop.page("/artifacts/a").all("rect")]
    assert widths == [100, 100, 50, 0.6, 0]


def test_the_bar_of_all_files_is_full_and_in_the_kinds_own_order(shop):
    files = [shop.file(f"f{number}", 10**number, "weight" if number % 2 else "doc") for number in range(10)]
    shop.add("a:v1", *files, shop.file("x", 1, "weight.config"))
    first, second, third = (bar for bar in shop.page("/artifacts/a").all("rect")[:3])
    assert (first["class"], second["class"], third["class"]) == ("doc", "model", "config")
    assert float(first["x"]) == 0
    assert float(second["x"]) == pytest.approx(float(first["width"]), abs=0.02)
    assert float(third["x"]) + float(third["width"]) == pytest.approx(100, abs=0.02)


def test_ten_thousand_files_are_counted_and_the_first_of_them_shown(shop):
    shop.add("a:v1", *[shop.file(f"data/{number}.bin", 10) for number in range(10_000)])
    page = shop.page("/artifacts/a")
    assert "10,000 · 100.0 kB" in page.text
    assert "and 9,000 more files" in page.text
    assert len(page.all("rect")) == 1001


def test_nothing_of_an_artifact_becomes_markup(shop):
    shop.add_evil()
    harmless = shop.add("evil/harmless:v1", shop.file("README.md", b"# x", "doc"))
    for url in ("/", "/artifacts/evil/all", "/artifacts/evil/all:v1", f"/?q={'%3Cscript%3E'}"):
        page = shop.page(url)
        page.check()
        assert "\u202e" not in page.html
        assert "\x07" not in page.html
        assert "<img" not in page.html
        assert not [link for link in page.links if "script" in link or "alert" in link or link.startswith("data:")]
    page = shop.page("/artifacts/evil/all")
    ours = shop.page(f"/artifacts/evil/harmless@{harmless.digest}")
    assert page.raw == ours.raw
    assert page.text.count(SHOWN_EVIL) >= 18
    assert page.text.startswith("evil/all:v1 · 127.0.0.1:5000 ")


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(codec="utf-8") | st.sampled_from("<>&\"'`=/\u202e\x00{}%")))
def test_any_text_shows_as_itself(tmp_path_factory, text):
    shop = Shop(tmp_path_factory.mktemp("any"))
    shop.add("a:v1", shop.file(text or "x", 5), config={"descriptor": {"family": text}}, annotations={"k" + text: text})
    page = shop.page("/artifacts/a")
    page.check()
    assert visible(text.strip()[:299]) in html.unescape(page.html)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"config": {"paramSize": 7}}, "Parameters 7"),
        ({"config": {"paramSize": {"a": [1]}}}, "Type Model Size"),
        ({"config": {"paramSize": None, "capabilities": ["x"]}}, "Type Model Size"),
        ({"descriptor": {"licenses": ["a", "b"] + ["c"] * 10_000}}, "Licence a b c"),
        ({"descriptor": {"createdAt": "yesterday"}}, "Type Model Size"),
        ({"descriptor": {"createdAt": 5}}, "Type Model Size"),
        ({"descriptor": {"createdAt": "9999-12-31T23:59:59-23:00"}}, "Type Model"),
        ({"descriptor": {"createdAt": "0001-01-01T00:00:00Z"}}, "Created 0001-01-01"),
        ({"descriptor": {"family": "f" * 100_000}}, "f…"),
        ({"config": {"capabilities": {"toolUsage": False}}}, "Tool use no"),
    ],
)
def test_a_config_that_says_odd_things_is_shown_as_far_as_it_makes_sense(shop, said, shown):
    shop.add("a:v1", config=said)
    page = shop.page("/artifacts/a")
    page.check()
    assert shown in page.text
    assert len(page.html) < 40_000


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"a":1,"a":2}', b'{"config":[]}', b"[" * 50_000, b"\xff"])
def test_a_config_that_cannot_be_read_is_said_beside_what_can(shop, data):
    shop.add("a:v1", shop.file("model.bin", 5), config=data)
    assert "The config cannot be read" in shop.page("/").text
    page = shop.page("/artifacts/a")
    assert "The config cannot be read" in page.text
    assert "model.bin" in page.text


def test_a_config_that_is_too_large_or_missing_is_said(shop):
    huge = {"mediaType": MODEL_CONFIG, "digest": str(Digest.of(b"huge")), "size": 2 << 20}
    absent = {**huge, "size": 4}
    for name, entry in (("huge", huge), ("absent", absent)):
        shop.name(f"{name}:v1", dump({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": entry, "layers": []}))
        assert "The config cannot be read" in shop.page(f"/artifacts/{name}").text
    assert "2,097,152 bytes" in shop.page("/artifacts/huge").text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"schemaVersion":2}',
        b"[" * 100_000,
        dump({"schemaVersion": 2, "config": None, "layers": [None]}),
        dump({"schemaVersion": 2, "annotations": {"a": "x" * 10_000_000}}),
    ],
    ids=["empty", "object", "no layers", "deep", "null", "10 MB of annotations"],
)
def test_a_manifest_that_cannot_be_read_leaves_the_list_and_its_own_page_alive(shop, data):
    shop.name("bad:v1", data)
    shop.add("good:v1", config=config("2026-01-01T00:00:00Z"))
    page = shop.page("/")
    assert names(page) == ["good", "bad"]
    assert "The manifest cannot be read" in page.text
    own = shop.page("/artifacts/bad")
    own.check()
    assert "The manifest cannot be read" in own.text
    assert len(own.html) < 40_000


def test_a_manifest_with_a_bit_turned_is_said_and_one_repaired_is_shown(shop):
    content = shop.add("a:v1", config={"descriptor": {"family": "bert"}})
    app = shop.app()
    shop.damage(content.digest)
    for _ in range(2):
        assert "The manifest cannot be read" in get(app, "/").text
    shop.damage(content.digest)
    assert "bert" in get(app, "/").text


def test_a_manifest_that_is_gone_is_said(shop):
    content = shop.add("a:v1")
    shop.add("a:v0", annotations={"org.opencontainers.image.created": "2020-01-01T00:00:00Z"})
    shop.layout.blob_path(content.digest).unlink()
    page = shop.page("/artifacts/a")
    assert page.text.startswith("a:v0")
    assert "damaged" in page.text
    shop.page("/artifacts/a:v1", 404)


def test_a_repository_without_tags_has_a_page(shop):
    content = shop.add("localhost/a:v1", shop.file("model.bin", 5))
    shop.catalog.delete_tag("a", "v1")
    assert "no tags" in shop.page("/").text
    assert "no tags" in shop.page("/artifacts/a").text
    assert "model.bin" in shop.page(f"/artifacts/a@{content.digest}").text


IMAGE = "application/vnd.oci.image.config.v1+json"


def test_what_is_no_model_is_shown_with_what_is_known(shop):
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": str(Digest.of(b"l")), "size": 77}
    titled = layer | {"annotations": {"org.opencontainers.image.title": "values.yaml"}}
    shop.add("image:v1", layer, config_type=IMAGE, config={"os": "linux"})
    shop.add("chart:v1", titled, config_type="application/vnd.cncf.helm.config.v1+json")
    shop.add("sbom:v1", titled, config_type="application/vnd.oci.empty.v1+json", artifactType="application/spdx+json")
    shop.add("odd:v1", config_type="application/x.odd")
    listed = shop.page("/").text
    for text in (
        "image v1 type Container image 1 file 79 B",
        "Helm chart",
        "application/spdx+json",
        "application/x.odd",
    ):
        assert text.split(" 1 file")[0] in listed
    assert str(Digest.of(b"l")) in shop.page("/artifacts/image").text
    assert "values.yaml" in shop.page("/artifacts/chart").text
    for name in ("image", "chart", "sbom", "odd"):
        shop.page(f"/artifacts/{name}").check()


def test_an_index_leads_to_its_manifests(shop):
    child = shop.add("multi:one", shop.file("model.bin", 5))
    index = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child.to_json()]})
    shop.name("multi:all", index, OCI_INDEX)
    page = shop.page("/artifacts/multi:all")
    page.check()
    assert f"/artifacts/multi@{child.digest}" in page.links
    assert "model.bin" in shop.page(f"/artifacts/multi@{child.digest}").text


def test_an_artifact_manifest_is_shown_with_its_blobs(shop):
    data = dump({"mediaType": ARTIFACT_MANIFEST, "artifactType": "x/y", "blobs": [shop.file("blob.bin", 5)]})
    shop.name("old:v1", data, ARTIFACT_MANIFEST)
    assert "blob.bin" in shop.page("/artifacts/old").text


# README

README = [
    ("# A\n## B\n##### C", "<h3>A</h3>\n<h4>B</h4>\n<h6>C</h6>\n"),
    ("[a](https://x.org)", '<p><a href="https://x.org" rel="nofollow noopener noreferrer">a</a></p>\n'),
    ("[a](mailto:a@x.org)", '<p><a href="mailto:a@x.org" rel="nofollow noopener noreferrer">a</a></p>\n'),
    ("[a](./b.md) [*c*](#d) [e](/v2/)", "<p>a <em>c</em> e</p>\n"),
    ("[a](javascript:alert(1))", "<p>a</p>\n"),
    ("[a](JaVaScRiPt:alert(1))", "<p>a</p>\n"),
    ("[a](&#106;avascript:alert(1))", "<p>a</p>\n"),
    ("[a](java&#10;script:alert(1))", "<p>a</p>\n"),
    ("[a](data:text/html;base64,PHNjcmlwdD4=)", "<p>a</p>\n"),
    ("[a](vbscript:x) [b](file:///etc/passwd) [c](//x.org) [d](https:x)", "<p>a b c d</p>\n"),
    ("[a][b]\n\n[b]: javascript:alert(1)", "<p>a</p>\n"),
    ("<javascript:alert(1)>", "<p>javascript:alert(1)</p>\n"),
    (
        '[a](https://x.org "onmouseover=alert(1)")',
        '<p><a href="https://x.org" rel="nofollow noopener noreferrer">a</a></p>\n',
    ),
    (
        '[a](https://x.org/"onclick="b)',
        '<p><a href="https://x.org/%22onclick=%22b" rel="nofollow noopener noreferrer">a</a></p>\n',
    ),
    (
        "![alt](https://x.org/a.png)",
        '<p><a href="https://x.org/a.png" rel="nofollow noopener noreferrer">alt</a></p>\n',
    ),
    ("![*al* <b>t](./a.png) ![](b.png)", "<p>al &lt;b&gt;t image</p>\n"),
    (
        "[![b](https://x.org/b.svg)](https://y.org)",
        '<p><a href="https://y.org" rel="nofollow noopener noreferrer">b</a></p>\n',
    ),
    (
        "[![b](https://x.org/b.svg)](#y)",
        '<p><a href="https://x.org/b.svg" rel="nofollow noopener noreferrer">b</a></p>\n',
    ),
    ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"),
    ("<div onclick=x>\n\n*a*\n\n</div>", "<p>&lt;div onclick=x&gt;</p>\n<p><em>a</em></p>\n<p>&lt;/div&gt;</p>\n"),
    ("a <img src=x onerror=y>", "<p>a &lt;img src=x onerror=y&gt;</p>\n"),
    ("&lt;b&gt; &#60;i&#62; &amp;lt;", "<p>&lt;b&gt; &lt;i&gt; &amp;lt;</p>\n"),
    ('```js" onload="x\n<b>\n```', "<pre><code>&lt;b&gt;\n</code></pre>\n"),
    ("7. a", '<ol start="7">\n<li>a</li>\n</ol>\n'),
    ("~~a~~ **b** `c`", "<p><s>a</s> <strong>b</strong> <code>c</code></p>\n"),
    ("---\nlicense: mit\n---\n# A", "<h3>A</h3>\n"),
    ("\ufeff---\r\nlicense: mit\r\n---\r\na", "<p>a</p>\n"),
    ("---\nnever closed", "<hr />\n<p>never closed</p>\n"),
    ("gnp\u202e.exe \x1b[31m", "<p>gnp\\u202e.exe \\x1b[31m</p>\n"),
    ("👩‍💻 \u05d0\u200f", "<p>👩‍💻 \u05d0\u200f</p>\n"),
    ("", ""),
    ("[a]: https://x.org", '<pre class="plain">[a]: https://x.org</pre>'),
]


@pytest.mark.parametrize(("markdown", "shown"), README, ids=itertools.count())
def test_a_readme_becomes_html_that_does_no_harm(markdown, shown):
    assert to_html(markdown.encode()) == shown


def test_the_columns_of_a_table_are_aligned_without_a_style():
    page = Page(to_html(b"| a | b |\n|:-:|--:|\n| 1 | <b> |\n"))
    assert [cell["class"] for cell in page.all("td")] == ["center", "right"]
    assert not [attributes for _, attributes in page.elements if "style" in attributes]


def test_a_readme_that_is_no_utf_8_is_shown():
    assert to_html(b"caf\xe9") == "<p>caf\ufffd</p>\n"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["[", "]", "(", ")", "!", "*", "_", "`", "<", ">", "a", "\n", "\n\n", "    ", "- ", "1. ", "> ", "|", "-|-",
             "#", "~~", "&#x6a;", "javascript:", "https://x.org", "data:", "mailto:", '"', "'", "\\", "<script>", "=",
             " onload=", "\u202e", "\x00", "```", ": "]
        ),
        max_size=60,
    )
)  # fmt: skip
def test_no_readme_makes_an_element_that_a_tame_one_has_not(pieces):
    page = Page(f"<style></style>{to_html(''.join(pieces).encode())}")
    page.check()
    assert not {"script", "img", "form", "svg", "button", "input"} & {tag for tag, _ in page.elements}
    assert not [link for link in page.links if link.startswith("/")]


HOSTILE = {
    "brackets": "[" * 100_000,
    "images": "![" * 50_000,
    "stars": "*a " * 30_000 + "a* " * 30_000,
    "quotes": "> " * 100_000,
    "nested lists": "\n".join("  " * depth + "- a" for depth in range(500)),
    "links": "[a](" * 25_000,
    "references": "[a]: b '\n" * 10_000,
    "backticks": "".join("`" * count + " " for count in range(1, 450)),
    "nested images": "![" * 2000 + "](x)" * 2000,
    "table": "a|" * 5000 + "\n" + "-|" * 5000 + "\n" + "a\n" * 5000,
    "angles": "<" * 100_000,
    "largest": "*a [b](c " * (MAX_README // 9),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_readme_made_to_be_slow_is_shown_somehow(text):
    """None of these is measured: the worst would take hours if nothing stopped them."""
    page = Page(f"<style></style>{to_html(text.encode())}")
    page.check()
    deepest = depth = 0
    for tag in re.findall(r"</?(?:em|strong|blockquote|ul|li)>", page.html):
        depth += -1 if tag.startswith("</") else 1
        deepest = max(deepest, depth)
    assert deepest < 60


def test_a_readme_that_takes_too_long_is_shown_as_plain_text():
    clock = itertools.count(0, 0.1)
    assert to_html(b"# a\n\n*b* <c>\n" * 5, clock=lambda: next(clock)) == (
        '<pre class="plain">' + "# a\n\n*b* &lt;c&gt;\n" * 5 + "</pre>"
    )
    still = to_html(b"# a\n\n*b* <c>\n" * 5, clock=lambda: 0.0)
    assert still.startswith("<h3>a</h3>")


def test_a_readme_is_found_at_the_top_alone_and_if_it_is_not_too_long(shop):
    too_long = b"a" * (MAX_README + 1)
    shop.add("none:v1", shop.file("docs/README.md", b"# Hidden", "doc"), shop.file("readme.txt", b"# Hidden"))
    shop.add("lower:v1", shop.file("readme.md", b"# Lower", "doc"), shop.file("x", 1))
    shop.add("both:v1", shop.file("readme.md", b"# Lower", "doc"), shop.file("README.md", b"# Upper", "doc"))
    shop.add("long:v1", shop.file("README.md", too_long, "doc"))
    shop.add("gone:v1", shop.file("README.md", 10, "doc"))
    assert "Hidden" not in shop.page("/artifacts/none").text
    assert "Lower" in shop.page("/artifacts/lower").text
    assert "Upper" in shop.page("/artifacts/both").text
    assert "aaaa" not in shop.page("/artifacts/long").text
    assert "The README is not in the store" in shop.page("/artifacts/gone").text


def test_a_readme_with_a_bit_turned_is_not_shown(shop):
    layer = shop.file("README.md", b"# Genuine", "doc")
    shop.add("a:v1", layer)
    shop.damage(Digest.parse(layer["digest"]))
    page = shop.page("/artifacts/a")
    assert "not in the store, or not whole" in page.text
    assert "enuine" not in page.text


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://x.org/a?b=c&d#e", True),
        ("http://[::1]:80/", True),
        ("mailto:a@b", True),
        ("HTTPS://x.org", True),
        ("https:///x", False),
        ("https://", False),
        ("mailto:", False),
        ("ftp://x.org", False),
        ("javascript://x.org/%0aalert(1)", False),
        (" https://x.org", False),
        ("https://x.org/\n", False),
        ("https://x.org/ü", False),
        ('https://x.org/"', False),
        ("https://[x", False),
        ("https://x.org/" + "a" * 3000, False),
        ("//x.org", False),
        ("x", False),
        ("", False),
    ],
)
def test_only_absolute_links_to_the_web_and_to_mail_are_made(url, safe):
    assert safe_url(url) == (url if safe else "")


# Names


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("models.example.com", "modfile pull models.example.com/a:v1 "),
        ("127.0.0.1:5000", "modfile pull 127.0.0.1:5000/a:v1 "),
        ("[::1]:5000", "modfile pull '[::1]:5000/a:v1' "),
        ("registry", "modfile pull registry:80/a:v1 "),
        ("localhost", "modfile pull localhost/a:v1 "),
        ("", "modfile pull 127.0.0.1:5000/a:v1 "),
        ("evil.org;rm -rf ~", "modfile pull 127.0.0.1:5000/a:v1 "),
        ("evil.org\"'<script>", "modfile pull 127.0.0.1:5000/a:v1 "),
        ("$(id).org", "modfile pull 127.0.0.1:5000/a:v1 "),
        ("evil.org/x", "modfile pull 127.0.0.1:5000/a:v1 "),
        ("user@evil.org", "modfile pull 127.0.0.1:5000/a:v1 "),
        ("evil.org:99999", "modfile pull 127.0.0.1:5000/a:v1 "),
        ("-x.org", "modfile pull 127.0.0.1:5000/a:v1 "),
        ("ev\u00efl.org", "modfile pull 127.0.0.1:5000/a:v1 "),
        ("a." * 200 + "org", "modfile pull 127.0.0.1:5000/a:v1 "),
    ],
)
def test_commands_name_the_host_only_if_it_reads_as_one(shop, host, shown):
    shop.add("a:v1")
    page = shop.page("/artifacts/a", host=host)
    page.check()
    assert shown in page.text


@pytest.mark.parametrize(
    ("scope", "host", "plain", "insecure"),
    [
        ({}, "127.0.0.1:5000", False, True),
        ({}, "models.example.com", False, False),
        ({"server": ("10.0.0.5", 5000)}, "models.example.com:5000", True, True),
        ({"server": ("10.0.0.5", 5000), "scheme": "https"}, "models.example.com:5000", False, False),
        ({"server": ("::", 5000)}, "", True, True),
        ({"server": ("/run/socket", None)}, "", False, True),
        ({"server": None}, "", False, True),
    ],
)
def test_commands_say_that_there_is_no_tls_where_that_has_to_be_said(shop, scope, host, plain, insecure):
    shop.add("a:v1")
    text = shop.page("/artifacts/a", host=host, **scope).text
    assert ("--plain-http" in text) is plain
    assert ("--src-tls-verify=false" in text) is insecure


@pytest.mark.parametrize(
    "path",
    [
        "/artifacts/nothing",
        "/artifacts/a:v2",
        "/artifacts/a:",
        "/artifacts/a@v1",
        "/artifacts/a@sha256:0",
        f"/artifacts/a@{Digest.of(b'')}",
        f"/artifacts/a:{Digest.of(b'')}",
        "/artifacts/a/",
        "/artifacts/",
        "/artifacts",
        "/artifacts/../../etc/passwd",
        "/artifacts/%2e%2e/%2e%2e/etc/passwd",
        "/artifacts/%3Cscript%3E",
        "/artifacts/A",
        "/artifacts/a%00",
        "/artifacts/" + "a" * 5000,
        "/favicon.ico",
        "/v2x",
        "/anything/else",
        "//",
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(shop, path):
    shop.add("a:v1")
    page = shop.page(path, 404)
    page.check()
    assert "Not found" in page.text
    assert "/" in page.links


def test_the_api_answers_as_before_where_it_has_nothing(shop):
    app = shop.app()
    for path in ("/v2/nothing", "/v2/a/tags/list", "/v2/a/manifests/v1"):
        answer = get(app, path)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
    assert get(shop.app(Access(push=True)), "/v2/a/blobs/uploads/").status == 405
    assert get(app, "/v2/").text == "{}"


def test_a_repository_may_be_called_as_the_apis_paths_are(shop):
    shop.add("v2/artifacts:v1", shop.file("model.bin", 5))
    assert "model.bin" in shop.page("/artifacts/v2/artifacts").text


# The server


def test_a_browser_is_told_to_do_nothing_but_show_the_page(shop):
    shop.add_evil()
    app = shop.app()
    for url, status in (("/", 200), ("/artifacts/evil/all", 200), ("/nothing", 404)):
        answer = get(app, url)
        page = Page(answer.text)
        said = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert answer.status == status
        assert said["default-src"] == said["base-uri"] == said["frame-ancestors"] == "'none'"
        assert said["form-action"] == "'self'"
        assert set(said) == {"default-src", "style-src", "script-src", "form-action", "base-uri", "frame-ancestors"}
        for tag, text in page.raw.items():
            assert said[f"{tag}-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "private, no-cache"


def test_pages_are_for_those_who_may_pull(shop, tmp_path):
    shop.add("secret:v1")
    path = tmp_path / "users"
    path.write_bytes(b"ada:" + bcrypt.hashpw(b"lace", bcrypt.gensalt(4)) + b"\n")
    users = Htpasswd(path)
    try:
        app = shop.app(Access(users=users))
        for url in ("/", "/artifacts/secret", "/nothing"):
            answer = get(app, url)
            assert answer.status == 401
            assert answer.headers["www-authenticate"].startswith("Basic")
            assert "secret" not in answer.text
        known = [(b"host", b"127.0.0.1:5000"), (b"authorization", b"Basic " + base64.b64encode(b"ada:lace"))]
        assert get(app, "/artifacts/secret", headers=known).status == 200
        assert get(shop.app(Access(users=users, anonymous_read=True)), "/").status == 200
    finally:
        users.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_is_written_by_a_page(shop, method):
    shop.add("a:v1")
    assert get(shop.app(Access(push=True)), "/artifacts/a", method=method).status == 405


def test_a_store_that_fails_is_said_without_the_machines_paths(shop):
    shop.add("a:v1")
    (shop.layout.root / "index.json").write_text("{")
    for path in ("/", "/artifacts/a"):
        page = shop.page(path, 500)
        page.check()
        assert "The store cannot be read" in page.text
        assert str(shop.directory) not in page.html


def test_an_artifact_is_read_once_for_the_list(shop):
    content = shop.add("a:v1", config={"descriptor": {"family": "bert"}})
    app = shop.app()
    get(app, "/")
    shop.damage(content.digest)
    assert "bert" in get(app, "/").text


def test_templates_and_markdown_are_imported_with_the_first_page_only(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.serve.shop import Shop, get\n"
        f"app = Shop(Path({str(tmp_path)!r})).app(); get(app, '/v2/')\n"
        "print([name for name in ('jinja2', 'markdown_it') if name in sys.modules])\n"
        "get(app, '/'); print('jinja2' in sys.modules)"
    )
    argv = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True"]


def test_too_many_who_wait_are_sent_away(shop):
    app = shop.app()
    held, statuses = threading.Event(), []
    listed = shop.catalog.repositories
    shop.catalog.repositories = lambda: (held.wait(30), listed())[1]  # type: ignore[method-assign]

    async def crowd():
        async def one():
            sent = []

            async def send(message):
                sent.append(message)

            scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/", "headers": [], "query_string": b""}
            await app(scope | {"root_path": "", "server": ("127.0.0.1", 1)}, None, send)
            statuses.append(sent[0]["status"])

        waiting = [asyncio.ensure_future(one()) for _ in range(70)]
        await asyncio.sleep(0.1)
        held.set()
        await asyncio.gather(*waiting)

    asyncio.run(crowd())
    assert sorted(set(statuses)) == [200, 503]
    assert statuses.count(503) == 6


# Text


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (91_600_000, "91.6 MB"),
        (2**63 - 1, "9.2 EB"),
    ],
)
def test_sizes_are_shown_in_powers_of_a_thousand(size, shown):
    assert size_text(size) == shown


@given(st.text())
def test_what_is_visible_is_printable_and_what_is_readable_turns_nothing_around(text):
    assert visible(text).isprintable()
    assert not set(readable(text)) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x00\x1b\r\ud800")
    assert visible(readable("a\n\tb")) == "a\\n\\tb"


def test_numbers_in_names_count():
    assert sorted(["v10", "v9", "10", "a", "v9.2"], key=natural) == ["10", "a", "v9", "v9.2", "v10"]


def test_what_is_kept_is_bounded_and_the_unused_goes_first():
    kept = Kept(10, len)
    for name in ("aaaa", "bbbb"):
        kept.put(name, name)
    assert kept.get("aaaa") == "aaaa"
    kept.put("cccc", "cccc")
    kept.put("too heavy", "x" * 11)
    assert [kept.get(name) for name in ("aaaa", "bbbb", "cccc", "too heavy")] == ["aaaa", None, "cccc", None]
    assert MAX_MANIFEST > MAX_README
