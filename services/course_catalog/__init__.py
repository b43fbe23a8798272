"""The Course Catalog: courses as learners browse them and authors keep them."""
