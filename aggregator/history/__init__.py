"""What agents have told, on disk before it is acknowledged: the journal that live state is rebuilt from, and minute
values of some days."""
