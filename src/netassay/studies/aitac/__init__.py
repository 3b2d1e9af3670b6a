"""What a convolutional network learns about regulatory DNA (Maslova et al., PNAS 2020).

atlas (its folder, splits, dhs4, the forms it is built from, a simulated one) -> training -> evaluation -> pages.
"""
