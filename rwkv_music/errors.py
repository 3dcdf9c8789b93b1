"""What a person can do wrong, told in one line: the rule, the place and the mend."""


class UserError(ValueError):
    """A mistake or a lack that the person at the keyboard can mend; `code` is what the command exits with."""

    code = 1


class UsageError(UserError):
    """Options that do not go together, or a value out of range."""

    code = 2
