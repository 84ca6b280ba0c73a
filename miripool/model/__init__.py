"""What a product is: metadata and named datasets, the kinds of product, and the names that users give.

Nothing here knows of files, pools or databases.
"""
