"""Charts drawn on the server: pure functions of figures that give SVG, or HTML around it.

Chart libraries that are kept put styles and scripts into each picture, or have fixed colours; the page allows neither.
So the drawing is ours, its markup written through MarkupSafe as all templates are, every colour a class of charts.css.
Each chart says in words what it shows, and has its figures as a table: nobody needs to see it, and no script draws it.
"""
