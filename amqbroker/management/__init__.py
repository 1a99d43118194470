"""What people and programs ask of a running broker: users, policies, lists, definitions.

Functions take the broker, answer at once, and raise `ManagementError` for what they refuse. Those
that change something return the journal position after which the change is durable, 0 if there is
nothing to wait for.
"""
