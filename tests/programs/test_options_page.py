import options_page
import pytest


@pytest.mark.parametrize("program", options_page.TABLE)
def test_every_option_of_the_client_is_listed(program):
    module, rows = options_page.TABLE[program]
    listed = [row.option for row in rows]
    assert len(listed) == len(set(listed))
    posted = options_page.posted_options(module)
    assert posted <= set(listed)
    assert {
        name for name in set(listed) - posted if not name.startswith(("post_selection", "bit_flip"))
    } == set()


def test_every_test_that_is_named_is_there():
    known = options_page.known_tests()
    named = {name for _, rows in options_page.TABLE.values() for row in rows for name in row.tests}
    named |= {name for _, _, tests in options_page.INPUTS for name in tests}
    assert named <= known, sorted(named - known)


def test_the_page_is_up_to_date():
    assert options_page.PAGE.read_text(encoding="utf-8") == options_page.render()
