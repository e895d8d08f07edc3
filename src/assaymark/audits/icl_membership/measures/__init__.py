"""Games played against a service: who is asked what, and what the answers say about membership."""
