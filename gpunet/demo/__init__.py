"""A trained network as one HTML page that computes in the browser, without a server or a connection.

page.py      the page put together from the files below, with the network in it
examples.py  a few test images of the run, to click on
page.html    its frame
page.css     its style, over that of report.html
network.js   the forward pass, and what each hidden unit adds to the answer
image.js     pictures to 28 x 28 grey bytes, as Pillow makes them
page.js      drawing, opening and showing
"""

from gpunet.demo.examples import Examples, run_examples
from gpunet.demo.page import demo_page, write_demo_page

__all__ = ["Examples", "demo_page", "run_examples", "write_demo_page"]
