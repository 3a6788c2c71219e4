"""The page: what a tired person needs in one look, made on the server from what is known, complete without JavaScript.

Models say what is shown (pure), templates how, routes where. Nothing of it is asked for from anywhere else.
"""
