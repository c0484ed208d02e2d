# Builds the application, and gives it the test images.
set -e
make -s board
python images.py > images.bin
./board < images.bin > classes.txt
python check.py runs/digits classes.txt
