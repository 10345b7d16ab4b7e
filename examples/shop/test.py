#!/usr/bin/python3
"""The shop as a customer sees it, in headless Chromium.  If a test fails, a newcomer's first look at dtm does.

test.py URL: run.sh --test starts it, with the databases in SHOP_ORDERS, SHOP_PAYMENT and SHOP_STOCK. If the services
are containers, whose processes the page cannot stop, SHOP_BREAK is a command that does: it is run with "stop payment",
"start payment", or "kill" and the number that a process of the orders' database has there.
Ends with one line: N passed, N failed.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import uuid

import psycopg
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

URL = sys.argv[1]
PICTURES = os.environ.get("SHOP_PICTURES")
BREAK = os.environ.get("SHOP_BREAK")


def until(what, expected=True, seconds=60):
    """Waits for a condition, or for a value."""
    end = time.monotonic() + seconds
    while (value := attempt(what)) != expected:
        assert time.monotonic() < end, f"{value!r} did not become {expected!r}"
        time.sleep(0.1)


def attempt(what):
    try:
        return what()
    except (NoSuchElementException, StaleElementReferenceException):
        return None     # the page has not drawn it yet, or has drawn it again


def one(database, sql):
    with psycopg.connect(os.environ[database]) as connection:
        return connection.execute(sql).fetchone()[0]


class Page:
    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="shop-test.")
        options = webdriver.ChromeOptions()
        for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
                         "--disable-background-networking", "--disable-component-update", "--disable-sync",
                         "--window-size=1280,1500", f"--user-data-dir={self.profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # Debian's; by itself, a later selenium would look for one to download
        options.binary_location = "/usr/bin/chromium"
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.get(URL)
        until(lambda: self.driver.find_element(By.TAG_NAME, "body").get_attribute("data-ready"), "yes")
        until(lambda: "does not respond" in self.find("#services").text, False)

    def close(self):
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def choose(self, name, value):
        self.driver.execute_script("document.querySelector(arguments[0]).click()", f"input[name={name}][value={value}]")

    def click(self, id):
        self.find(f"#{id}").click()

    def known(self):
        return set(self.driver.execute_script(
            "return [...document.querySelectorAll('[data-order]')].map((card) => card.dataset.order)"))

    def order(self, sku, payer, method="saga"):
        """Orders as a customer does, and returns the order's id."""
        before = self.known()
        self.choose("sku", sku)
        self.choose("payer", payer)
        self.choose("method", method)
        self.click("order")
        until(lambda: len(self.known() - before), 1)
        return (self.known() - before).pop()

    def card(self, order):
        return self.find(f"[data-order='{order}']")

    def ends(self, order, state):
        until(lambda: self.card(order).get_attribute("data-state"), state)

    def says(self, order, text):
        until(lambda: text in self.card(order).text)

    def service(self, name, text):
        until(lambda: text in self.find(f"#service-{name}").text)

    def stop_payment(self):
        self.breaks("break-payment", "stop", "payment")
        self.service("payment", "does not respond")

    def start_payment(self):
        self.breaks("break-payment", "start", "payment")

    def crash_database(self):
        self.breaks("break-database", "kill", str(one("SHOP_ORDERS", "SELECT pid FROM dtm.stat_coordinator")))

    def breaks(self, button, *command):
        if BREAK:
            subprocess.run([BREAK, *command], check=True)
        else:
            self.click(button)

    def picture(self, name):
        if PICTURES:
            self.driver.save_screenshot(os.path.join(PICTURES, name + ".png"))


page = Page()


def test_order_succeeds():
    order = page.order("teapot", "Alice")
    page.ends(order, "shipped")
    page.says(order, "payment charge 200")
    page.service("stock", "teapot\n9")
    page.service("payment", "Alice\n460 €")


def test_order_is_declined():
    order = page.order("chair", "Bob")
    page.ends(order, "rejected")
    page.says(order, "Bob's wallet has not enough money")
    page.says(order, "stock release 200")      # the reservation is undone
    page.service("stock", "chair\n10")
    page.service("payment", "Bob\n50 €")


def test_card_is_charged():
    order = page.order("teapot", "tok_good")
    page.ends(order, "shipped")
    page.service("cards", "charged\n40 €")


def test_card_is_declined():
    order = page.order("teapot", "tok_declined")
    page.ends(order, "rejected")
    page.says(order, "Your card was declined.")
    page.service("stock", "teapot\n8")
    page.service("cards", "charged\n40 €")


def test_card_company_is_busy():
    page.click("break-cards")
    order = page.order("teapot", "tok_good")
    page.ends(order, "shipped")
    page.says(order, "201, attempt 3")          # two times 429, and then 201
    page.service("cards", "charged\n80 €")


def test_stock_is_missing():
    page.click("break-stock")
    until(lambda: "sold out" in page.find("#products").text)
    order = page.order("lamp", "Alice")
    page.ends(order, "rejected")
    page.says(order, "lamp is sold out")
    by_card = page.order("lamp", "tok_good")
    page.ends(by_card, "rejected")
    page.service("cards", "refunded\n70 €")
    page.picture("stock-missing")
    page.click("break-stock")
    page.service("stock", "lamp\n10")


def test_page_offers_to_break_what_it_can_reach():
    for button in ("break-payment", "break-database"):
        assert page.find(f"#{button}").is_displayed() == (BREAK is None), button
    assert page.find("#containers").is_displayed() == (BREAK is not None)
    assert page.find("#break-stock").is_displayed()


def test_payment_is_down_and_back():
    page.stop_payment()
    order = page.order("teapot", "Alice")
    page.says(order, "payment charge no response")
    page.says(order, "in progress")
    page.picture("payment-down")
    page.start_payment()
    page.ends(order, "shipped")
    page.service("payment", "Alice\n420 €")     # charged once


def test_postgresql_crashes_while_payment_is_down():
    page.stop_payment()
    order = page.order("lamp", "Alice")
    page.says(order, "payment charge no response")
    page.crash_database()
    page.start_payment()
    page.ends(order, "shipped")
    page.service("payment", "Alice\n350 €")
    page.driver.get_log("browser")              # forgets the errors of the page's requests meanwhile


def test_tcc_succeeds():
    order = page.order("teapot", "Alice", "tcc")
    page.ends(order, "shipped")
    page.says(order, "payment capture 200")
    page.service("payment", "Alice\n310 €")


def test_tcc_is_declined():
    order = page.order("chair", "Bob", "tcc")
    page.ends(order, "rejected")
    page.says(order, "Bob's wallet has not enough money")
    page.says(order, "stock cancel 200")


def test_tcc_is_canceled_when_payment_is_back():
    page.stop_payment()
    order = page.order("lamp", "Alice", "tcc")
    page.says(order, "payment release no response")
    page.start_payment()
    page.ends(order, "rejected")
    page.says(order, "payment does not respond")
    page.service("stock", "lamp\n9")


def test_xa_succeeds():
    order = page.order("teapot", "Alice", "xa")
    page.ends(order, "shipped")
    page.service("payment", "Alice\n270 €")


def test_xa_is_declined():
    order = page.order("chair", "Bob", "xa")
    page.ends(order, "rejected")
    page.says(order, "Bob's wallet has not enough money")
    page.service("stock", "chair\n10")


def test_request_that_is_sent_twice_is_one_order():
    body = {"id": str(uuid.uuid4()), "sku": "teapot", "customer": "Alice", "method": "saga"}
    for _ in range(2):
        status = page.driver.execute_async_script("""
            const [body, done] = arguments;
            fetch("/api/orders", { method: "POST", headers: { "content-type": "application/json" }, body })
              .then((response) => done(response.status));""", json.dumps(body))
        assert status == 202, status
    page.ends(body["id"], "shipped")
    page.service("payment", "Alice\n230 €")


def test_customers_cannot_set_the_price_or_the_protocol():
    for body, message in (({"id": "x", "method": "saga"}, '"sku" is missing in the order'),
                          ({"id": "y", "sku": "teapot", "custmer": "Alice", "method": "saga"}, '"customer" is missing in the order'),
                          ({"id": "y", "sku": "teapot", "customer": "Alice", "method": "card"}, '"card" is missing in the order'),
                          ({"id": "y", "sku": "teapot", "customer": "Alice", "method": "toString"}, 'there is no method "toString"')):
        answer = page.driver.execute_async_script("""
            const [body, done] = arguments;
            fetch("/api/orders", { method: "POST", headers: { "content-type": "application/json" }, body })
              .then((response) => response.json().then((content) => done([response.status, content.message])));""", json.dumps(body))
        assert answer == [400, message], answer


def test_misspelt_key_is_named():
    """A step of somebody who has not read what the services want: it waits, with the service's response."""
    steps = {"server:stock/reserve": ({"skv": "teapot"}, 'unknown field "skv"'), "server:payment/charge": ({"customer": "Alice", "amuont": 1}, '"amount"'),
             "server:stock/ship": ({"order": "nobody's"}, 'no reservation')}
    with psycopg.connect(os.environ["SHOP_ORDERS"], autocommit=True) as connection:
        connection.execute("SET ROLE shop")
        for action, (payload, named) in steps.items():
            gid = connection.execute("SELECT dtm_submit('msg', jsonb_build_array(jsonb_build_object('action', %s::text, 'payload', %s::jsonb)))",
                                     (action, json.dumps(payload))).fetchone()[0]
            call = "SELECT http_status, error FROM dtm.calls WHERE gid = %s LIMIT 1"
            until(lambda: connection.execute(call, (gid,)).fetchone() is not None)
            status, error = connection.execute(call, (gid,)).fetchone()
            assert status == 400 and named in json.loads(error)["message"], (action, status, error)
            connection.execute("SELECT dtm_force_stop(%s)", (gid,))


def test_money_goods_and_orders_agree():
    wallets = "FROM shop.orders WHERE state = 'shipped' AND method <> 'card'"
    assert one("SHOP_PAYMENT", "SELECT sum(balance) FROM account") == 550 - one("SHOP_ORDERS", f"SELECT sum(amount) {wallets}")
    assert one("SHOP_PAYMENT", "SELECT sum(held) FROM account") == 0
    shipped = one("SHOP_ORDERS", "SELECT count(*) FROM shop.orders WHERE state = 'shipped'")
    assert one("SHOP_STOCK", "SELECT count(*) FROM reservation WHERE state = 'shipped'") == shipped
    assert one("SHOP_STOCK", "SELECT count(*) FROM reservation") == shipped
    assert one("SHOP_STOCK", "SELECT sum(available) FROM item") == 30 - shipped
    assert one("SHOP_ORDERS", "SELECT count(*) FROM shop.orders WHERE state NOT IN ('shipped', 'rejected')") == 0
    assert one("SHOP_STOCK", "SELECT count(*) FROM pg_prepared_xacts") == 0


def test_page_needs_nothing_from_outside():
    page.picture("orders")
    asked = page.driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert asked and all(address.startswith(URL) for address in asked), asked
    # an order that was refused above is an error of the network to Chromium
    errors = [line["message"] for line in page.driver.get_log("browser")
              if line["level"] == "SEVERE" and "status of 400" not in line["message"]]
    assert not errors, errors


passed = failed = 0
for name, test in list(globals().items()):
    if name.startswith("test_"):
        try:
            test()
            passed += 1
            print(f"ok - {name[5:].replace('_', ' ')}", flush=True)
        except Exception:
            failed += 1
            page.picture(name)
            print(f"not ok - {name[5:].replace('_', ' ')}", flush=True)
            traceback.print_exc(file=sys.stdout)
page.close()
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or not passed else 0)
