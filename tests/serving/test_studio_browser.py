"""The studio in a real browser, over real services: every page, live, by keyboard, on a phone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, BrowserContext, Page, expect
from studio_world import IMAGE, SCRIPT, World, code_store, finish, held, make_run, make_runs, train_on

from conftest import Serve
from segue.models import load_model
from segue.serving.decoder_app import decoder_app
from segue.serving.decoding import StoreDecoder
from segue.serving.limits import Settings
from segue.serving.predictor_app import predictor_app
from segue.serving.served import load_served
from segue.serving.shelf import Served
from segue.serving.studio_app import Sources, studio_app
from segue.serving.upstream import Upstream
from segue.vectors import Store

Open = Callable[..., Page]
expect.set_options(timeout=20_000)  # milliseconds until it is a failure; on a busy machine an encoder takes some
PAGES = (
    "/",
    "/runs/small",
    "/runs/tiny?view=report",
    "/runs/tiny?view=notes",
    "/runs/tiny?view=card",
    "/runs/small?view=report",
    f"/runs/{quote(SCRIPT)}",
    f"/runs/{quote(IMAGE)}?view=report",
    "/runs/damaged",
    "/compare",
    "/frontier",
    "/frontier?metric=direction&split=OOD&whole=1",
    "/corpus",
    "/map",
    "/chat",
)


@pytest.fixture(scope="module")
def world(
    serve: Serve, text_store: Store, text_run: Path, encoder_url: str, tmp_path_factory: pytest.TempPathFactory
) -> World:
    folder = tmp_path_factory.mktemp("world")
    store = code_store(folder / "store", text_store)
    runs = make_runs(folder / "runs", text_run)
    decoder = serve(decoder_app(StoreDecoder.of(store), Settings()))
    to_encoder, to_decoder = Upstream("encoder", encoder_url, "segue serve encoder"), Upstream("decoder", decoder, "")
    predictor = serve(predictor_app(Served.runs({"small": text_run}, load_served), to_encoder, to_decoder, Settings()))
    nowhere = "http://127.0.0.1:9"
    return World(
        url=serve(studio_app(Sources(runs, store.path, predictor, decoder), Settings())),
        down=serve(studio_app(Sources(runs, store.path, nowhere, nowhere), Settings())),
        runs=runs,
        store=store,
        model=load_model(text_run),
    )


@pytest.fixture
def opened(browser: Browser, world: World) -> Iterator[Open]:
    """`opened("/compare", width=390)` → the page; ends by asserting that nothing complained and all was our own."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    requests: list[str] = []
    ours = (world.url, world.down)

    def open_page(path: str, width: int = 1280, base: str = "", refusals: bool = False, **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: None if refusals and "status of" in message.text else told(message.text))
        page.on("pageerror", lambda error: told(str(error)))
        page.on("dialog", lambda dialog: (told(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((base or world.url) + path)
        return page

    def told(text: str) -> None:
        complaints.append(text)

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(ours)] == []


@pytest.mark.parametrize("path", PAGES)
def test_every_page_fits_a_phone_and_complains_of_nothing(opened: Open, path: str) -> None:
    page = opened(path, width=390)
    if path == "/corpus":
        expect(page.locator("#headline")).to_be_visible()
    expect(page.locator("main h1:visible, main h2:visible").first).to_be_visible()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    fields = "[...document.querySelectorAll('input, select, textarea')]"
    unnamed = f"{fields}.filter((one) => !one.labels?.length && !one.ariaLabel)"
    assert page.evaluate(f"{unnamed}.length") == 0


def test_what_would_be_code_is_shown_as_text(opened: Open, world: World) -> None:
    """Names of runs, a title, an id and a chunk: all of it stands there, none of it runs."""
    page = opened("/")
    assert {SCRIPT, IMAGE} <= set(page.locator("table.runs th a").all_inner_texts())
    page.get_by_role("link", name=IMAGE).click()
    assert page.locator("h1").inner_text() == IMAGE
    page = opened("/map")
    expect(page.locator(".sheet h1")).to_have_text(SCRIPT)
    expect(page.locator(".cards")).to_contain_text(IMAGE)
    expect(page.locator(".shelf li").first).to_contain_text(SCRIPT)
    assert page.locator("main script, main img").count() == 0


def test_curves_grow_while_a_run_trains(opened: Open, world: World) -> None:
    """Without a reload, until training ends; then the page asks for nothing more."""
    folder = make_run(world.runs / "live", epochs=2, manifest=False)
    with held(folder):
        page = opened("/runs/live")
        curves = page.locator("#curves")
        expect(curves).to_have_attribute("data-epochs", "2")
        expect(page.locator(".standing")).to_contain_text("epoch 3 of 4")
        page.evaluate("window.stayed = true")
        drawn = page.locator("#curves canvas").first.evaluate("(one) => one.toDataURL()")
        train_on(folder, 3)
        expect(curves).to_have_attribute("data-epochs", "3")
        expect(page.locator("#after")).to_contain_text("lr halved")
        assert page.locator("#curves canvas").first.evaluate("(one) => one.toDataURL()") != drawn
        train_on(folder, 4)
        expect(page.locator(".standing")).to_contain_text("trained, in its last test")
        finish(folder)
    expect(page.locator(".standing")).to_contain_text("not tested")
    assert page.evaluate("window.stayed") and page.locator("#now").get_attribute("hx-get") is None


def test_the_list_follows_the_runs(opened: Open, world: World) -> None:
    page = opened("/")
    row = page.locator("tr", has_text="going")
    expect(row.locator(".state")).to_have_text("interrupted")
    with held(world.runs / "going"):
        expect(row.locator(".state")).to_have_text("training")
        assert page.locator("table.runs th a").first.inner_text() == "going"


def test_curves_are_read_by_the_keyboard(opened: Open) -> None:
    page = opened("/runs/tiny")
    expect(page.locator("#curves")).to_have_attribute("data-epochs", "3")
    page.locator("#curves").press("ArrowRight")
    page.locator("#curves").press("ArrowRight")
    expect(page.locator("#reading")).to_contain_text("epoch 2, VAL cos: 0.520")
    expect(page.locator("#reading")).to_contain_text("lr halved")
    assert "epoch 2, VAL cos: 0.520" in page.locator("#curves").inner_text()


def test_compare_sorts_filters_and_remembers_in_its_address(opened: Open) -> None:
    page = opened("/compare?run=tiny&run=small&mixed=1")
    names = page.locator("table.sortable tbody tr:visible > th")
    page.locator("table.sortable thead button", has_text="cos").first.click()
    cells = page.locator("table.sortable tbody tr > :nth-child(5)").all_inner_texts()
    cosines = [text for text in cells if "–" not in text]
    values = [float(text.strip("~ ").split()[0].replace("−", "-")) for text in cosines]
    assert values == sorted(values, reverse=True) and len(values) > 3
    page.locator("#filter").fill("copy_last")
    assert [text.split()[0] for text in names.all_inner_texts()] == ["copy_last"]
    page.get_by_label("corpus").check()
    page.wait_for_url("**pool=corpus**")
    assert "MRR corpus" in page.locator("table.sortable thead").first.inner_text()
    page.get_by_role("link", name="tiny").first.click()
    assert page.locator("h1").inner_text() == "tiny"


def test_the_frontier_tells_each_place_to_mouse_and_keyboard(opened: Open) -> None:
    page = opened("/frontier")
    chart = page.locator(".plane svg.chart")
    page.locator(".plane .pt[data-name=copy_last]").hover()
    said = page.locator("#said")
    assert "copy_last: 0.469 [0.462, 0.476]" in said.inner_text() and "margin_last" in said.inner_text()
    assert page.locator(".listed tr.here").get_attribute("data-name") == "copy_last"
    chart.focus()
    told = set()
    for _ in range(4):
        chart.press("ArrowRight")
        told.add(said.inner_text())
    assert len(told) == 4 and all("[" in text for text in told)
    chart.press("Escape")
    assert not said.is_visible()


def test_the_map_agrees_with_the_model(opened: Open, world: World) -> None:
    """Stepped by keys; the rank shown is the one that the model itself gives, counted plainly."""
    page = opened("/map")
    expect(page.locator("#place")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    total, context = int(world.store.length_G[0]), world.model.context
    target = context + 1
    expect(page.locator("#place")).to_have_text(f"Chunk {target + 1} of {total}")
    vectors_ND = np.asarray(world.store.vectors_ND[:total], dtype=np.float32)
    with torch.no_grad():
        prediction_D = world.model.predict(torch.from_numpy(vectors_ND[target - context : target])[None])[0].numpy()
    later = [float(prediction_D @ vectors_ND[j]) for j in range(target, total)]
    rank = 1 + sum(cosine > later[0] + 1e-6 for cosine in later[1:])
    facts = page.locator(".came .facts dd").all_inner_texts()
    assert facts[0] == f"{rank} of {len(later)}" and facts[2] == f"{later[0]:.3f}".replace("-", "−")
    best = page.locator(".predicted .ranked").first.locator("li > b").all_inner_texts()
    assert best == [str(target + 1 + j) for j in np.argsort(-np.array(later), kind="stable")[:5]]
    expect(page.locator(".predicted .ranked").nth(1).locator("li")).to_have_count(3)
    page.reload()
    expect(page.locator("#place")).to_have_text(f"Chunk {target + 1} of {total}")


def test_the_map_without_a_predictor_still_shows_the_document(opened: Open, world: World) -> None:
    page = opened("/map", base=world.down, refusals=True)
    expect(page.locator(".notice:visible").first).to_contain_text("segue serve predictor --run RUN")
    assert page.locator(".matrix").first.is_visible()


def test_chat_answers_continues_and_leads_to_the_map(opened: Open, world: World) -> None:
    page = opened("/chat")
    page.get_by_role("button", name="Take a text of the store").click()
    expect(page.locator("#text")).not_to_have_value("")
    text = "\n\n".join(str(one) for one in world.store.texts(range(14, 14 + world.model.context)))
    page.locator("#text").fill(text)
    page.locator("#text").press("Control+Enter")
    reply = page.locator(".turn.assistant")
    expect(reply).to_have_count(1)
    texts = set(world.store.texts(range(len(world.store))))
    assert reply.locator(".said").first.inner_text() in texts
    assert "ms in all" in reply.inner_text() and "encode" in reply.inner_text()
    reply.locator("summary").first.click()
    assert reply.locator("details").first.locator("li:visible").count() == 4
    page.get_by_role("button", name="Continue").click()
    expect(page.locator(".turn.assistant")).to_have_count(2)
    place = reply.first.locator(".source a")
    number = place.inner_text().rpartition("chunk ")[2]
    place.click()
    page.wait_for_url("**/map?**")
    expect(page.locator(".sheet h1")).to_be_visible()
    if int(number) > world.model.context:
        expect(page.locator("#place")).to_contain_text(f"Chunk {number} ")


def test_chat_says_in_one_line_what_keeps_it(opened: Open, world: World) -> None:
    page = opened("/chat", refusals=True)
    page.locator("#text").fill("Too short.")
    page.get_by_role("button", name="What comes next?").click()
    expect(page.locator(".composer .notice")).to_contain_text(str(world.model.context))
    assert page.locator(".turn").count() == 0 and page.locator("#text").input_value() == "Too short."
    page = opened("/chat", base=world.down, refusals=True)
    expect(page.locator("main .notice").first).to_contain_text("Start it with: segue serve predictor --run RUN")


def test_dark_and_light_differ(opened: Open) -> None:
    light, dark = (opened("/", color_scheme=scheme) for scheme in ("light", "dark"))
    colours = [page.evaluate("getComputedStyle(document.body).backgroundColor") for page in (light, dark)]
    assert len(set(colours)) == 2


def test_a_token_opens_the_studio_to_a_browser(browser: Browser, serve: Serve, world: World) -> None:
    """Without it nothing is told; a link with it lets in, and pages, styles, scripts and polls work from then on."""
    token = "a-token-of-some-length"
    url = serve(studio_app(Sources(world.runs, None), Settings(token=token)))
    context = browser.new_context()
    page = context.new_page()
    refused: list[str] = []
    page.goto(f"{url}/")
    assert "unauthorised" in page.content() and "tiny" not in page.content()
    page.on("response", lambda response: refused.append(response.url) if response.status >= 400 else None)
    page.goto(f"{url}/?token={token}")
    assert token not in page.url and page.locator("tr", has_text="tiny").count() == 1
    with page.expect_response(lambda response: "/live/runs" in response.url):
        pass
    page.goto(f"{url}/runs/tiny")
    expect(page.locator("#curves")).to_have_attribute("data-epochs", "3")
    assert refused == []
    context.close()
