"""What the commands do: the layers below, wired together."""
