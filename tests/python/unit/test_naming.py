"""Names: one rule from Python and the catalog to GraphQL."""

import pytest

from rowcast.declare.naming import field_name, table_field_name


@pytest.mark.parametrize(
    ("name", "camel", "database"),
    [
        ("order_items", "orderItems", "order_items"),
        ("orders", "orders", "orders"),
        ("Orders", "orders", "Orders"),
        ("created_at_utc", "createdAtUtc", "created_at_utc"),
        ("_private_one", "_privateOne", "_private_one"),
        ("a__b", "aB", "a__b"),
        ("class_", "class", "class_"),
        ("2fa", "_2fa", "_2fa"),
        ("two words", "twoWords", "two_words"),
        ("größe", "grE", "gr__e"),
        ("already", "already", "already"),
        ("userID", "userID", "userID"),
        ("ID", "id", "ID"),
        ("USER_ID", "userId", "USER_ID"),
        ("URLPath", "urlPath", "URLPath"),
        ("address_2", "address2", "address_2"),
        ("__typename", "_typename", "_typename"),
        ("", "", ""),
        ("_", "_", "_"),
    ],
)
def test_names_become_graphql_names(name, camel, database):
    assert field_name(name) == camel
    assert field_name(name, "database") == database


@pytest.mark.parametrize("table", ["order_items", "sales.order_items", 'sales."order_items"', '"order_items"'])
def test_a_tables_field_is_named_without_its_schema(table):
    assert table_field_name(table) == "orderItems"
