"""A bank: withdrawals and deposits are steps of sagas, and each can be undone."""
import os

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import IntegrityError, models
from django.urls import path

from dtm_pg import Ongoing, Refused
from dtm_pg.django import branch

KEY = os.environ["BANK_KEY"]
settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY="not used", USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["BANK_DB"],
                           "HOST": os.environ["BANK_HOST"], "USER": os.environ["BANK_USER"]}})
django.setup()


class Account(models.Model):
    name = models.TextField(primary_key=True)
    balance = models.IntegerField()
    state = models.TextField()

    class Meta:
        app_label = "bank"
        db_table = "account"


def change(call, sign):
    order = call.json("account", "amount")
    name, amount = order["account"], order["amount"]
    account = Account.objects.select_for_update().filter(name=name).first()
    if account is None:
        raise Refused(f"no account {name}")
    if account.state == "audited":
        raise Ongoing(f"account {name} is being audited")
    account.balance += sign * amount
    try:
        account.save()
    except IntegrityError:
        raise Refused(f"not enough money in account {name}") from None


@branch(KEY)
def withdraw(call):
    change(call, -1)


@branch(KEY)
def undo_withdraw(call):
    change(call, +1)


@branch(KEY)
def deposit(call):
    change(call, +1)


@branch(KEY)
def undo_deposit(call):
    change(call, -1)


urlpatterns = [path("withdraw", withdraw), path("withdraw/undo", undo_withdraw),
               path("deposit", deposit), path("deposit/undo", undo_deposit)]
application = get_wsgi_application()
