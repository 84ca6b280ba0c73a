"""What a Python session holds: the home, pools, the manager, and HIPE's words for them."""
