#!/usr/bin/python3
"""Drives the page for operators in headless Chromium, against a real server with
transactions in all states; writes screenshots.  scripts/page.sh starts it.

Prints "ok - ..." or "not ok - ..." for each check.
"""
import argparse
import base64
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse
import urllib.request

from PIL import Image
import psycopg2
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

PATIENCE = 60
# what would be run if any of it became markup
HOSTILE = '<img src=x onerror="document.title=\'owned\'">'
HOSTILE_GID = 'order-<img src=x onerror=alert(1)>'
RTL_GID = 'order-\u202etxt.exe'


def check(good, name, more=""):
    print(("ok - " if good else "not ok - ") + name + (f" ({more})" if more and not good else ""), flush=True)
    return good


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---------- a server with transactions in all states ----------

class Participant:
    def __init__(self):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "participant.py")
        self.process = subprocess.Popen(["/usr/bin/python3", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.url = "http://127.0.0.1:" + self.process.stdout.readline().split()[0].decode()

    def reply(self, path, *replies, forever=True):
        body = json.dumps({"path": path, "replies": replies, "forever": forever}).encode()
        urllib.request.urlopen(self.url + "/_reply", body).read()

    def release(self):
        urllib.request.urlopen(self.url + "/_release", b"").read()


class Database:
    def __init__(self, conninfo):
        self.connection = psycopg2.connect(conninfo)
        self.connection.autocommit = True

    def __call__(self, statement, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else None

    def one(self, statement, *values):
        return self(statement, *values)[0][0]

    def until(self, statement, expected):
        end = time.monotonic() + PATIENCE
        got = None
        while time.monotonic() < end:
            got = self.one(statement)
            if got == expected:
                return True
            time.sleep(0.1)
        print(f"# {statement}: {got}, not {expected}")
        return False


def fill(sql, shop, slow, down):
    sql("""CREATE ROLE shop LOGIN IN ROLE dtm_user; CREATE ROLE office LOGIN IN ROLE dtm_user; CREATE ROLE gone IN ROLE dtm_user;
           CREATE ROLE operator LOGIN IN ROLE dtm_admin; ALTER ROLE dtm_gateway LOGIN; GRANT operator, shop, office TO dtm_gateway""")
    shop.reply("/card/Pay", {"status": 503, "body": '{"message": "card service: no connection to the bank", "trace": "7f3a"}'})
    shop.reply("/stock/Take", {"status": 409, "body": '{"message": "sold out", "article": 4711}'})
    shop.reply("/stock/Release", {"status": 500, "body": "lock time-out\r\n"})
    shop.reply("/mail/Send", {"status": 404, "body": "no such page\n"})
    shop.reply("/ship/Order", {"status": 425, "body": "ONGOING"})
    # of its own, since what it holds fills the window of its host
    slow.reply("/slow/Report", {"hold": True})
    shop.reply("/evil/Answer", {"status": 409, "body": HOSTILE})
    sql("SET ROLE shop")
    u = shop.url
    # ended
    for i in range(60):
        sql("SELECT dtm_submit('saga', ARRAY[dtm_step(%s, %s, %s), dtm_step(%s, %s)], %s)", u + "/bank/TransOut", u + "/bank/Undo",
            json.dumps({"account": i, "amount": 30}), u + "/bank/TransIn", u + "/bank/Undo", f"transfer-{1000 + i}")
    for i in range(7):
        sql("SELECT dtm_submit('saga', ARRAY[dtm_step(%s, %s, %s), dtm_step(%s, %s)], %s)", u + "/card/Reserve", u + "/card/Cancel",
            json.dumps({"order": i}), u + "/stock/Take", u + "/stock/Undo", f"order-{2000 + i}")
    # retried: one host responds with errors
    for i in range(14):
        sql("SELECT dtm_submit('saga', ARRAY[dtm_step(%s, %s, %s), dtm_step(%s, %s, %s)], %s, %s)", u + "/stock/Reserve", u + "/stock/Undo",
            json.dumps({"article": 17, "pieces": i + 1}), u + "/card/Pay", u + "/card/Undo",
            json.dumps({"order": 3000 + i, "amount": 12.5, "currency": "EUR"}), f"order-{3000 + i}", json.dumps({"fairness_key": "web"}))
    for i in range(3):
        sql("SELECT dtm_submit('msg', ARRAY[dtm_step(%s, payload => %s)], %s)", u + "/mail/Send", json.dumps({"to": f"user{i}@example.com"}), f"mail-{i}")
    # the other does not respond at all
    for i in range(8):
        sql("SELECT dtm_submit('msg', ARRAY[dtm_step(%s, payload => %s)], %s)", down + "/invoice", json.dumps({"order": i}), f"invoice-{i}")
    # rolling back, not done yet, held, delayed, prepared, parked, stopped
    sql("SELECT dtm_submit('saga', ARRAY[dtm_step(%s, %s), dtm_step(%s, %s)], 'order-4000')", u + "/bank/Out", u + "/stock/Release", u + "/stock/Take", u + "/stock/Undo")
    sql("SELECT dtm_submit('msg', ARRAY[dtm_step(%s)], 'parcel-1')", u + "/ship/Order")
    for i in range(3):
        sql("SELECT dtm_submit('msg', ARRAY[dtm_step(%s)], %s)", slow.url + "/slow/Report", f"report-{i}")
    sql("SELECT dtm_submit('msg', ARRAY[dtm_step(%s)], 'reminder-1', '{\"delay\": 7200}')", u + "/mail/Remind")
    sql("SELECT dtm_prepare('tcc', 'seat-1', options => '{\"timeout_to_fail\": 7200}')")
    for i in range(3):
        sql("SELECT dtm_submit('msg', ARRAY[dtm_step(%s, payload => '{}', options => '{\"max_attempts\": 2, \"on_exhausted\": \"park\"}')], %s)", u + "/card/Pay", f"bonus-{i}")
    sql("SELECT dtm_submit('msg', ARRAY[dtm_step(%s, payload => '{}', options => '{\"max_attempts\": 1, \"on_exhausted\": \"discard\"}')], 'news-1')", u + "/mail/Send")
    for i in range(3):
        sql("SELECT dtm_submit('saga', ARRAY[dtm_step(%s, '')], %s, '{\"lane\": \"account-7\"}')", u + "/card/Pay", f"lane-{i}")
    sql("SELECT dtm_submit('msg', ARRAY[dtm_step(%s)], 'test-1')", u + "/card/Pay")
    # hostile texts, and a large one
    sql("SELECT dtm_submit('saga', ARRAY[dtm_step(%s, '', %s)], %s)", u + "/evil/Answer", json.dumps({"html": HOSTILE}), HOSTILE_GID)
    sql("SELECT dtm_submit('msg', ARRAY[dtm_step(%s)], %s)", u + "/ok", RTL_GID)
    sql("SELECT dtm_submit('msg', ARRAY[dtm_step(%s, payload => %s)], 'large-1')", u + "/card/Pay", json.dumps({"text": "x" * 50000}))
    sql("RESET ROLE")
    sql("SELECT dtm_subscribe('order-paid', %s, 'warehouse'), dtm_subscribe('order-paid', %s, 'statistics')", u + "/warehouse/Paid", u + "/statistics/Paid")
    sql("SET ROLE gone; SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/x')], 'nobody-1', '{\"delay\": 3600}'); RESET ROLE; REVOKE dtm_user FROM gone; DROP ROLE gone")
    sql("SET ROLE office; SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/y')], 'office-1', '{\"delay\": 3600}'); RESET ROLE")
    # a branch of an XA that has ended, prepared still
    sql("SET ROLE shop; SELECT dtm_prepare('xa', 'xa-1'); SELECT dtm_register_branch('xa-1', '01', %s); RESET ROLE", u + "/xa/End")
    sql("CREATE TABLE account (id int)")
    with sql.connection.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO account VALUES (1); PREPARE TRANSACTION 'xa-1-01'")
    sql("SET ROLE shop; SELECT dtm_submit('xa', gid => 'xa-1'); RESET ROLE")
    sql.until("SELECT dtm_status('xa-1')", "succeed")
    sql.until("SELECT count(*) FROM dtm.stuck WHERE gid LIKE 'order-30%'", 14)
    sql.until("SELECT count(*) FROM dtm.parked WHERE gid LIKE 'bonus-%'", 3)
    sql.until("SELECT count(*) FROM dtm.stat_hosts WHERE state <> 'closed'", 1)
    sql.until("SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'transfer-%' AND state = 'succeeded'", 60)
    sql.until("SELECT count(*) > 0 FROM dtm.alerts WHERE state = 'open'", True)
    sql("SELECT dtm_force_stop('test-1', 'test data')")
    sql("SET ROLE operator; SELECT dtm_retry_now('order-3000', 'card service was restarted'); RESET ROLE")


# ---------- a browser ----------

def smaller(png):
    """The same with 256 colors, a quarter of the size: the most frequent, and those farthest from them."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    counted = sorted(image.getcolors(1 << 24), reverse=True)
    colors = [color for _, color in counted[:100]]
    def far(a, b):
        return sum((x - y) ** 2 for x, y in zip(a, b))
    others = {color: min(far(color, c) for c in colors) for n, color in counted[100:] if n >= 4}
    while others and len(colors) < 256:
        farthest = max(others, key=others.get)
        colors.append(farthest)
        others = {color: min(d, far(color, farthest)) for color, d in others.items() if color != farthest}
    palette = Image.new("P", (1, 1))
    palette.putpalette([tone for color in colors for tone in color])
    out = io.BytesIO()
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


class Browser:
    def __init__(self, url, folder):
        options = Options()
        self.profile = tempfile.mkdtemp(prefix="dtm-page-")
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
                         "--lang=en-US", "--window-size=1440,900", "--user-data-dir=" + self.profile):
            options.add_argument(argument)
        options.binary_location = "/usr/bin/chromium"
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.url = url
        self.folder = folder
        self.size(1440, 900)

    def quit(self):
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    def size(self, width, height, mobile=False):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile})

    def colors(self, scheme):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def go(self, place):
        self.driver.get("about:blank")
        self.driver.get(self.url + place)

    def wait(self, what, name="it"):
        """Until a function of ours is true; elements come and go with each look."""
        def tried(_):
            try:
                return what()
            except StaleElementReferenceException:
                return False
        try:
            return WebDriverWait(self.driver, PATIENCE, 0.1).until(tried)
        except WebDriverException as error:
            raise AssertionError(f"{name} did not come: {self.text()[:600]}") from error

    def find(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def first(self, selector):
        return self.wait(lambda: next((e for e in self.find(selector) if e.is_displayed()), None), selector)

    def named(self, name, inside="button, a"):
        """The button or link with this text."""
        return self.wait(lambda: next((e for e in self.find(inside) if e.is_displayed() and e.text.strip() == name), None), name)

    def press(self, name, inside="button, a"):
        def tried():
            for e in self.find(inside):
                if e.is_displayed() and e.text.strip() == name:
                    e.click()
                    return True
            return False
        self.wait(tried, name)

    def text(self, selector="body"):
        return self.driver.execute_script("return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText).join('\\n')", selector)

    def shows(self, text, selector="#main"):
        return self.wait(lambda: text in self.text(selector), f"\"{text}\"")

    def active(self):
        return self.driver.switch_to.active_element

    def at(self, what):
        """Something of the element that has the focus, which may be another one at any time."""
        return self.driver.execute_script("return document.activeElement." + what)

    def keys(self, *keys):
        """What is typed goes to whoever has the focus."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def picture(self, name, whole=False):
        # what counts seconds is as it is; what moves is at rest
        self.driver.execute_script("document.querySelector('#say').replaceChildren(); document.activeElement?.blur?.()")
        data = {"format": "png"}
        if whole:
            height = self.driver.execute_script("return Math.min(document.documentElement.scrollHeight, 2200)")
            width = self.driver.execute_script("return innerWidth")
            data |= {"captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}}
        png = base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", data)["data"])
        with open(os.path.join(self.folder, f"page-{name}.png"), "wb") as file:
            file.write(smaller(png))

    def overflows(self):
        return self.driver.execute_script("return document.documentElement.scrollWidth > innerWidth + 1")

    def complaints(self):
        """What the browser has logged: errors of scripts, and what the policy has kept away."""
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] == "SEVERE" and " 401 " not in e["message"]]

    def log_in(self, token):
        self.go("/")
        self.first("#token").send_keys(token, Keys.ENTER)
        self.first(".tiles")


# ---------- what is tried ----------

def test_login(b, token):
    b.go("/")
    field = b.first("#token")
    check(b.active() == field, "without a token, the page asks for one, and its field has the focus")
    check(b.find("#top > *") == [], "and shows nothing else")
    b.picture("login")
    field.send_keys("dtm_nonsense", Keys.ENTER)
    b.shows("not known here")
    check(True, "a wrong one is refused in words")
    b.first("#token").send_keys(token, Keys.ENTER)
    b.first(".tiles")
    check("operator" in b.text("#top"), "a good one opens the page as its role")
    b.driver.refresh()
    b.first(".tiles")
    check(True, "which outlasts a reload of the tab")


def test_overview(b):
    b.go("/#/overview")
    b.shows("need a person")
    b.shows("card service: no connection to the bank")
    check("host does not respond" in b.text("#main h1"), "the overview says what is wrong in a sentence")
    check("Hosts that do not respond" in b.text(), "and which host is down")
    check("sold out" in b.text(), "and what has failed last")
    check("Alerts" in b.text("#main h2"), "and what has been told")
    b.picture("overview", True)


def test_list(b, sql):
    b.press("Transactions", ".nav a")
    b.shows("order-3000")
    check(b.text(".tabs a[aria-current]").startswith("Active"), "the list begins with those that are active")
    b.picture("list")
    b.press("Failed\n" + str(sql.one("SELECT transactions FROM dtm.counts WHERE state = 'failed'")), ".tabs a")
    b.shows("order-2000")
    check("order-3000" not in b.text("#main table"), "a tab shows one state")
    check(HOSTILE_GID in b.text("#main table") and HOSTILE in b.text("#main table"), "markup in gids and errors is shown as text")
    check(b.find("#main table img") == [], "and is none")
    field = b.first("input[name=gid]")
    field.send_keys("order-20", Keys.ENTER)
    b.wait(lambda: len(b.find("#main tbody tr")) == 7)
    check(HOSTILE_GID not in b.text("#main table"), "a gid's beginning filters")
    b.press("Clear")
    b.shows(HOSTILE_GID)
    b.go("/#/transactions?state=active")
    Select(b.first("select[name=type]")).select_by_value("tcc")
    b.wait(lambda: len(b.find("#main tbody tr")) == 1)
    check("seat-1" in b.text("#main table"), "so does the type")
    b.go("/#/transactions?state=all&error=sold+out")
    b.shows("order-2000")
    check(len(b.find("#main tbody tr")) == 8, "so does the error, in all states", b.text("#main table"))
    b.go("/#/transactions?state=active&role=office")
    b.shows("office-1")
    check(len(b.find("#main tbody tr")) == 1, "so does the role")
    b.go("/#/transactions?state=succeeded")
    b.shows("transfer-1059")
    first = len(b.find("#main tbody tr"))
    b.press("Older")
    b.shows("transfer-1000")
    check(first == 50 and "transfer-1059" not in b.text("#main table"), "fifty of a page, and then the older ones")
    b.press("Newest")
    b.shows("transfer-1059")
    b.go("/#/transactions?state=succeeded&age=1+hour")
    b.shows("None fits these filters.")
    check(True, "an age that none has")


def choose(b, gid):
    def tried():
        for e in b.find("#main tbody input[type=checkbox]"):
            if e.get_attribute("aria-label") == "Choose " + gid:
                e.click()
                return True
        return False
    b.wait(tried, gid)


def test_bulk(b, sql, shop):
    b.go("/#/transactions?state=stuck&host=" + shop.url.replace(":", "%3A").replace("/", "%2F") + "&gid=order-300")
    b.shows("order-3003")
    choose(b, "order-3001")
    choose(b, "order-3002")
    b.shows("2 chosen")
    b.press("Choose all that fit")
    b.shows("All that fit")
    b.picture("bulk")
    b.press("Roll back…", ".bulk button")
    b.shows("10 transactions:", "#dialog")
    check(True, "a bulk act counts first")
    b.press("Roll back (10)", "#dialog button")
    check(b.at("tagName") == "TEXTAREA", "and wants a reason")
    check(sql.one("SELECT count(*) FROM dtm.acts WHERE what = 'abort'") == 0, "before that, nothing is done")
    b.first("#dialog textarea[name=reason]").send_keys("customers have canceled; it's over")
    b.driver.find_element(By.CSS_SELECTOR, "#dialog summary").click()
    b.shows("SELECT dtm_abort('order-3000', 'customers have canceled; it''s over');", "#dialog")
    check(True, "the same as SQL, with quotes doubled")
    b.picture("dialog")
    # one of them changes meanwhile
    sql("SELECT dtm_abort('order-3005', 'by somebody else')")
    sql.until("SELECT dtm_status('order-3005')", "failed")
    b.press("Roll back (10)", "#dialog button")
    b.shows("9 transactions told to roll back.", "#dialog")
    b.shows("1 refusal", "#dialog")
    check("its current status is 'failed'" in b.text("#dialog"), "it adds up at the end, with reasons", b.text("#dialog"))
    b.picture("result")
    b.press("Close", "#dialog button")
    b.wait(lambda: not b.find(".bulk"))
    check(sql.one("SELECT count(*) FROM dtm.acts WHERE what = 'abort' AND role::text = 'operator' AND reason LIKE 'customers%'") == 9, "and the acts have the role and the reason")


def test_transaction(b, sql):
    b.go("/#/transaction/order-3012")
    b.shows("It waits for its next attempt")
    b.shows("action of 02")
    check("attempt 2" in b.text(".line") or "attempt 3" in b.text(".line"), "the timeline has the attempts")
    check("HTTP 503" in b.text(".line"), "with their statuses")
    b.wait(lambda: "in " in b.text(".why") or "due" in b.text(".why"))
    check(True, "the next attempt counts down")
    b.first("details[data-key^=body] summary").click()
    b.shows('"pieces": 13')
    check(True, "a branch shows its request")
    b.picture("transaction", True)
    # an act on one
    b.press("Retry now…")
    b.first("#dialog textarea[name=reason]").send_keys("trying")
    b.press("Retry now", "#dialog button")
    b.shows("1 transaction retried.", "#dialog")
    b.press("Close", "#dialog button")
    b.shows("“trying”")
    check(True, "an act stands in the timeline with its reason")
    # responses that end with a line feed: of a branch and its calls, of causes, in the list, of dead letters
    for place, words in (("transaction/order-4000", "lock time-out"), ("overview", "no such page"), ("transactions?state=active", "no such page"), ("waiting", "no such page")):
        b.go("/#/" + place)
        b.shows(words)
        signs = [c for c in b.text("#main") if "\u2400" <= c <= "\u241f"]
        check(signs == [], f"{place}: the line feed that ends a response is not shown", str(signs))
    # sentences begin with a capital, but not if that changes a URL
    b.go("/#/transaction/order-3012")
    b.shows("It has failed", ".why .sentence")
    b.go("/#/transaction/" + sql.one("SELECT gid FROM dtm.in_flight WHERE gid LIKE 'report-%' AND started IS NOT NULL LIMIT 1"))
    b.shows("It waits for a response")
    style = b.driver.execute_script("return getComputedStyle(document.querySelector('.why .sentence'), '::first-letter').textTransform")
    check(b.text(".why .sentence").startswith("http://") and style == "none", "a sentence that begins with a URL has it as it is", b.text(".why .sentence") + ", " + style)
    # parked: a step is changed, which resumes it
    b.go("/#/transaction/bonus-0")
    b.shows("It waits for a person")
    b.press("Change…")
    b.first("#dialog textarea[name=reason]").send_keys("typo")
    b.press("Change", "#dialog button")
    b.shows("Nothing is changed.", "#dialog")
    check("dtm_retry_now()" not in b.text("#dialog"), "a change of nothing is refused by the page")
    b.first("#dialog textarea[name=reason]").clear()
    b.first("#dialog textarea[name=reason]").send_keys(" ")
    b.press("Change", "#dialog button")
    b.shows("the reason is empty", "#dialog")
    check(True, "and so is an empty reason")
    field = b.first("#dialog input[name=url-action], #dialog input[name=url-msg]")
    field.clear()
    field.send_keys(field.get_attribute("data-none") or "", sql.one("SELECT replace(url, '/card/Pay', '/ok') FROM dtm.branches WHERE gid = 'bonus-0' AND url <> ''"))
    payload = b.first("#dialog textarea[name=payload]")
    payload.clear()
    payload.send_keys('{"id": 12345678901234567891, "amount": 1.10}')
    b.first("#dialog textarea[name=reason]").send_keys("typo")
    b.press("Change", "#dialog button")
    b.shows("1 transaction changed.", "#dialog")
    b.press("Close", "#dialog button")
    b.shows("It has succeeded")
    check(True, "a wrong URL is mended, and the transaction goes on")
    payload = sql.one("SELECT convert_from(payload, 'UTF8') FROM dtm.branches WHERE gid = 'bonus-0' AND payload IS NOT NULL LIMIT 1")
    shown = b.driver.execute_script("return document.querySelector('main').textContent")
    check('"id": 12345678901234567891' in shown and '"amount": 1.10' in shown, "nor are they where a payload is shown")
    check('"id": 12345678901234567891' in payload and '"amount": 1.10' in payload, "numbers of a payload are not rounded", payload)
    b.go("/#/transaction/parcel-1")
    b.press("Answer for it…")
    b.first("#dialog textarea[name=reason]").send_keys("sent by hand")
    b.press("Answer", "#dialog button")
    b.shows("1 transaction answered for.", "#dialog")
    b.press("Close", "#dialog button")
    b.shows("It has succeeded")
    check(True, "a branch is answered for")
    b.go("/#/transaction/test-1")
    b.shows("It was stopped by force")
    b.press("Submit again…")
    b.first("#dialog textarea[name=reason]").send_keys("it was no test data")
    b.press("Submit again", "#dialog button")
    b.shows("The new gid is ", "#dialog")
    b.press("Close", "#dialog button")
    check(True, "one that was stopped is submitted again")
    b.go("/#/transaction/nowhere")
    b.shows("There is no transaction nowhere")
    check(True, "an unknown gid is said to be so")


def test_hostile(b):
    for gid in (HOSTILE_GID, RTL_GID, "large-1"):
        b.go("/#/transaction/" + urllib.parse.quote(gid, safe=""))
        b.shows("Timeline")
    b.first("details[data-key^=body] summary").click()
    b.shows("Show all")
    shown = len(b.text("details[data-key^=body]"))
    b.first("details[data-key^=body] button").click()
    b.wait(lambda: len(b.text("details[data-key^=body]")) > 50000)
    check(shown < 3000, "a large payload is cut, and shown when asked for", str(shown))
    b.go("/#/transaction/" + urllib.parse.quote(RTL_GID, safe=""))
    b.shows("⟨U+202E⟩")
    check(True, "what turns the direction of text is shown as a sign")
    b.go("/#/transaction/" + urllib.parse.quote(HOSTILE_GID, safe=""))
    b.shows("has failed and was rolled back")
    check(b.find("main img") == [] and "owned" not in b.driver.title, "markup in a response and a payload is text")
    blocked = b.driver.execute_script("try { document.body.innerHTML += '<b>x</b>'; return 'markup' } catch (e) { return e.name }")
    check(blocked == "TypeError", "the policy refuses markup from strings", blocked)
    b.driver.execute_script("""
        try { const s = document.createElement('script'); s.textContent = 'window.owned = 1'; document.head.append(s) } catch { }
        const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i)""")
    check(b.driver.execute_script("return window.owned") is None, "and scripts that are inline")
    messages = " ".join(b.complaints())
    check("TrustedHTML" in messages and "127.0.0.1:9" in messages, "and pictures from elsewhere; the browser says so", messages)


def test_views(b, sql, slow):
    b.go("/#/overview")
    b.press("Services", ".nav a")
    b.shows("Probe now…")
    check("p99" in b.text("#main th") and "open" in b.text("#main"), "services have circuits and percentiles")
    b.picture("services")
    b.press("Probe now…")
    b.first("#dialog textarea[name=reason]").send_keys("is it back?")
    b.press("Probe now", "#dialog button")
    b.shows("It was called for", "#dialog")
    b.press("Close", "#dialog button")
    check(True, "a host is probed")
    b.press("In flight", ".nav a")
    b.shows("report-0")
    check("account-7" in b.text("#main") and "news-1" in b.text("#main"), "calls in flight, lanes, and dead letters")
    b.press("Topics", ".nav a")
    b.shows("order-paid")
    b.press("Unsubscribe…")
    b.first("#dialog textarea[name=reason]").send_keys("moved")
    b.press("Unsubscribe", "#dialog button")
    b.shows("Done.", "#dialog")
    b.press("Close", "#dialog button")
    b.wait(lambda: sql.one("SELECT count(*) FROM dtm.topics") == 1)
    check(True, "topics, and the end of a subscription")
    b.press("Schedules", ".nav a")
    b.shows("There is no schedule")
    b.press("Orphans", ".nav a")
    b.shows("COMMIT PREPARED 'xa-1-01'")
    check(True, "orphans with their statement")
    b.press("Coordinators", ".nav a")
    # what is in flight is finished first
    slow.release()
    b.press("Pause…")
    b.first("#dialog textarea[name=reason]").send_keys("the shop is moved")
    b.press("Pause", "#dialog button")
    b.shows("Done.", "#dialog")
    b.press("Close", "#dialog button")
    b.shows("is paused")
    check("dtm_pause" in b.text("#main"), "coordinators, with the reason of a pause in words", b.text("#main"))
    b.picture("coordinators")
    b.press("Overview", ".nav a")
    b.shows("Nothing is called")
    b.press("Coordinators", ".nav a")
    b.press("Resume…")
    b.first("#dialog textarea[name=reason]").send_keys("it has moved")
    b.press("Resume", "#dialog button")
    b.shows("Done.", "#dialog")
    b.press("Close", "#dialog button")
    sql.until("SELECT min(state) FROM dtm.stat_coordinator", "running")
    check(True, "and they are resumed")


def test_keyboard(b, sql):
    """From the address bar to an act done, without a pointer."""
    b.go("/#/transactions?state=stuck&gid=mail-")
    b.shows("mail-2")
    b.driver.execute_script("document.activeElement.blur()")
    b.keys(Keys.TAB)
    check("Skip to the content" in b.at("innerText"), "the first stop leads to the content")
    b.keys(Keys.ENTER)
    for _ in range(60):
        b.keys(Keys.TAB)
        if b.at("getAttribute('aria-label')") == "Choose mail-1":
            break
    check(b.at("getAttribute('aria-label')") == "Choose mail-1", "a row is reached by Tab")
    outline = b.driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    check(outline not in ("none", ""), "the focus is seen", outline)
    b.keys(Keys.SPACE)
    b.shows("1 chosen")
    check(b.at("getAttribute('aria-label')") == "Choose mail-1", "what is redrawn keeps the focus")
    for _ in range(60):
        b.keys(Keys.TAB)
        if b.at("innerText") == "Force stop…":
            break
    b.keys(Keys.ENTER)
    b.shows("Force stop", "#dialog")
    check(b.at("tagName") == "TEXTAREA", "the dialog takes the focus")
    inside = True
    for _ in range(12):
        b.keys(Keys.TAB)
        inside = inside and b.driver.execute_script("return document.activeElement === document.body || document.querySelector('#dialog').contains(document.activeElement)")
    check(inside, "and keeps it")
    b.keys(Keys.ESCAPE)
    b.wait(lambda: not b.driver.execute_script("return document.querySelector('#dialog').open"))
    check(sql.one("SELECT state FROM dtm.transactions WHERE gid = 'mail-1'") == "retrying", "Escape does nothing")
    for _ in range(60):
        if b.at("innerText") == "Force stop…":
            break
        b.keys(Keys.TAB)
    b.keys(Keys.ENTER)
    b.wait(lambda: b.at("tagName") == "TEXTAREA")
    b.keys("spam", Keys.TAB, Keys.TAB, Keys.TAB, Keys.TAB)
    check(b.at("innerText") == "Force stop", "the last stop is the act", b.at("innerText"))
    b.keys(Keys.ENTER)
    b.shows("1 transaction stopped.", "#dialog")
    check(b.at("innerText") == "Close", "the result has the focus at its button")
    b.keys(Keys.ENTER)
    b.wait(lambda: sql.one("SELECT state FROM dtm.transactions WHERE gid = 'mail-1'") == "stopped")
    check(True, "and an act is done")
    b.go("/#/overview")
    b.first(".tiles")
    b.driver.execute_script("document.activeElement.blur()")
    b.keys("/")
    check(b.at("id") == "find", "/ leads to the search")
    b.keys("order-3012", Keys.ENTER)
    b.shows("Timeline")
    check(True, "which leads to a transaction")


def test_names(b):
    """Names for screen readers: each control has one, and headings, tables and regions are there."""
    for place in ("overview", "transactions?state=all", "transaction/order-3012", "services", "coordinators", "topics"):
        b.go("/#/" + place)
        b.wait(lambda: b.find("#main h1"))
        nameless = b.driver.execute_script("""
            return [...document.querySelectorAll('button, a, input, select, textarea')].filter((e) => !(e.innerText?.trim() || e.getAttribute('aria-label') ||
                e.labels?.length || e.title || e.querySelector('img[alt]:not([alt=""])'))).map((e) => e.outerHTML.slice(0, 100))""")
        heads = len(b.find("main h1"))
        check(nameless == [] and heads == 1, f"{place}: all controls have names, and there is one heading", f"{nameless} {heads}")
    check(len(b.find("[role=status][aria-live=polite]")) >= 1 and b.driver.execute_script("return document.documentElement.lang") == "en", "what is done is said")


def contrast(b):
    """The lowest contrast of texts on their grounds."""
    return b.driver.execute_script("""
        const rgb = (c) => (c.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
        const lum = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b) };
        const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0.9) return c } return [255, 255, 255] };
        let worst = [99, ''];
        for (const e of document.querySelectorAll('main *, #top *')) {
            if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.offsetParent || e.disabled || e.closest('.visually-hidden')) continue;
            const [a, z] = [lum(rgb(getComputedStyle(e).color)), lum(ground(e))].sort((x, y) => y - x);
            const c = (a + 0.05) / (z + 0.05);
            if (c < worst[0]) worst = [c, e.className + ': ' + e.innerText.slice(0, 40)];
        }
        return worst""")


def test_looks(b):
    for scheme in ("light", "dark"):
        b.colors(scheme)
        for place in ("overview", "transactions?state=active", "transaction/order-3012", "services"):
            b.go("/#/" + place)
            b.wait(lambda: b.find("#main h1"))
            worst = contrast(b)
            check(worst[0] >= 4.4, f"{scheme}: {place}: texts stand out from their ground", str(worst))
    b.go("/#/transaction/order-3012")
    b.shows("Timeline")
    b.picture("dark")
    b.go("/#/overview")
    b.first(".tiles")
    b.picture("overview-dark", True)
    b.colors("light")
    b.press("☾")
    check(b.driver.execute_script("return getComputedStyle(document.body).colorScheme || getComputedStyle(document.documentElement).colorScheme") == "dark", "the colors are chosen by hand, too")
    b.press("☀")
    b.size(390, 844, True)
    for place in ("overview", "transactions?state=active", "transaction/order-3012", "services", "coordinators", "topics", "orphans"):
        b.go("/#/" + place)
        b.wait(lambda: b.find("#main h1"))
        check(not b.overflows(), f"narrow: {place}: nothing stands out of the screen",
              str(b.driver.execute_script("return [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, .tabs, pre, .nav')).slice(0, 3).map((e) => e.outerHTML.slice(0, 120))")))
    b.go("/#/transactions?state=stuck")
    b.first("#main tbody tr")
    b.picture("narrow")
    b.go("/#/transaction/order-3012")
    b.shows("Timeline")
    b.picture("narrow-transaction")
    b.size(1440, 900)


def test_rights(b, token, office_token, sql):
    b.driver.execute_script("sessionStorage.clear()")
    b.log_in(token)
    check("shop" in b.text("#top .who"), "another role")
    b.go("/#/transactions?state=active")
    b.shows("order-3012")
    check("office-1" not in b.text("#main table") and not b.find("input[name=role]"), "sees its own transactions")
    b.press("Services", ".nav a")
    b.shows("dtm_admin")
    check(True, "no circuits")
    b.press("Coordinators", ".nav a")
    b.first("#main table")
    check("Pause…" not in b.text("#main"), "and has no button to pause them")
    b.go("/#/transaction/office-1")
    b.shows("There is no transaction office-1")
    check(True, "another's is not there for it")
    b.press("Log out")
    b.first("#token")
    check(b.driver.execute_script("return sessionStorage.length") == 0, "after logging out, the token is gone")
    b.log_in(office_token)
    b.shows("All is well with the transactions of office")
    check(sql.one("SELECT count(*) FROM dtm.stuck") > 0 and "No transaction that office is allowed to see is stuck" in b.text("#main"),
          "all is well, it says, with what this role may see", b.text("#main"))
    b.press("Log out")
    b.first("#token")


def test_without_script(b):
    b.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    b.driver.get("about:blank")
    b.driver.get(b.url + "/")
    check("needs JavaScript" in b.driver.page_source and b.first("noscript main, main.lonely") is not None, "without JavaScript, it says so")
    b.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_outage(b, gateway, start, token):
    b.log_in(token)
    gateway.terminate()
    gateway.wait()
    b.shows("No answer", "#top")
    check(b.find(".tiles") != [], "when the gateway is gone, the page says so, and keeps what it has shown")
    gateway = start()
    b.shows("Live", "#top")
    check(True, "and goes on when it is back")
    return gateway


# ---------- how it is started ----------

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--gateway-database", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    sql = Database(arguments.database)
    sql("CREATE EXTENSION dtm")
    shop = Participant()
    slow = Participant()
    port, api_port, down = free_port(), free_port(), free_port()
    fill(sql, shop, slow, f"http://127.0.0.1:{down}")
    tokens = {role: sql.one("SELECT dtm_create_token(%s, note => 'test')", role) for role in ("operator", "shop", "office")}
    hba = os.path.join(arguments.folder, "hba")
    with open(hba, "w") as file:
        file.write(f"127.0.0.1:{port} 127.0.0.1 bearer -\nall all reject -\n")
    def start():
        return subprocess.Popen([arguments.gateway, "--conninfo", arguments.gateway_database, "--listen", f"127.0.0.1:{api_port}", "--page", f"127.0.0.1:{port}", "--hba", hba])
    gateway = start()
    if arguments.serve:
        print(f"http://127.0.0.1:{port}/ with token {tokens['operator']}", flush=True)
        gateway.wait()
        return 0
    b = None
    status = 0
    try:
        b = Browser(f"http://127.0.0.1:{port}", arguments.folder)
        for test, values in ((test_login, (tokens["operator"],)), (test_overview, ()), (test_list, (sql,)), (test_transaction, (sql,)),
                             (test_hostile, ()), (test_looks, ()), (test_names, ()), (test_keyboard, (sql,)), (test_bulk, (sql, shop)), (test_views, (sql, slow)),
                             (test_rights, (tokens["shop"], tokens["office"], sql)), (test_without_script, ()), (test_outage, (gateway, start, tokens["operator"]))):
            print(f"# {test.__name__}", flush=True)
            try:
                gateway = test(b, *values) or gateway
            except Exception:
                status = 1
                check(False, test.__name__, traceback.format_exc(limit=4))
                b.picture("failed-" + test.__name__)
            if test is not test_outage:
                complaints = b.complaints()
                check(complaints == [], f"{test.__name__}: the browser has nothing to complain of", str(complaints[:3]))
    finally:
        if b:
            b.quit()
        gateway.terminate()
        shop.process.kill()
        slow.process.kill()
    return status


if __name__ == "__main__":
    sys.exit(main())
