"""The embedded demo: a family of tiny trained models, and two studies on them."""
